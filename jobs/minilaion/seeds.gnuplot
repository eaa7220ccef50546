# seeds.gnuplot - gains over 20 templates: each run a small mark, the mean with one sample deviation over runs a large one.
if (kind eq "png") { set terminal pngcairo size 1200,480 font "sans,11" } else { set terminal svg size 1200,480 font "sans,11" }
set output image
set datafile separator ","
set multiplot layout 1,2
set xrange [-0.5:3.5]
set xtics ("test" 0, "sketch" 1, "dusk" 2, "smear" 3)
set xzeroaxis lt -1
set ylabel "top-1 against 20 templates, percentage points"
set key bmargin center horizontal samplen 1
at(t) = t eq "test" ? 0 : t eq "sketch" ? 1 : t eq "dusk" ? 2 : 3
of(f, r) = sprintf("< awk -F, '$1 == \"%s\" && $2 == \"%s\"' '%s'", f, r, csv)
single(f, r) = sprintf("< awk -F, '$1 == \"%s\" && $2 == \"%s\" { n = split($9, g, \" \"); for (i = 1; i <= n; i++) print $3 \",\" g[i] }' '%s'", f, r, csv)
array rows[3] = ["primed; argmax filter", "primed; top k of each class", "transductive; 10 nearest"]
do for [f in "phrases coined"] {
    set title f." (synthetic world)"
    plot for [i=1:3] of(f, rows[i]) using (at(strcol(3)) + 0.2 * i - 0.4):7:8 with yerrorbars pt 7 lc i title rows[i], \
        for [i=1:3] single(f, rows[i]) using (at(strcol(1)) + 0.2 * i - 0.33):2 with points pt 6 ps 0.6 lc i notitle
}

"""npr-search --mode=faiss beside the newest faiss-cpu, in one run: the same factory string, rows, queries, k and thread,
the peer at the fewest probes with which it finds as much as npr does. Prints recalls, queries/s and two ratios. The peer
is timed on searching alone, its index and floats in memory. npr's run.queries_per_s counts from the set on disk to the
lists: reading the index, reading and checking vectors, journals (ratio=). Without what it waited for the set
(time.scan_rows_waited) it is search in memory, too (ratio.in_memory=), but for vectors: bringing them into the caches is
left out with reading them.

Opt-in: without the environment of `bash tests/oracles.sh --faiss` it is skipped. By hand, on rows of your own:
    peer_faiss.py ROWS.npy,... QUERIES.npy FACTORY NPROBE REFINE [K]"""
import os, subprocess, sys, tempfile
import numpy as np

PEER = r'''
import sys, time, numpy as np, faiss
folder, factory, k, refine, wanted = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])
faiss.omp_set_num_threads(1)
x, q = (np.load(f"{folder}/{name}.npy").astype(np.float32) for name in ("x", "q"))
sample = x[np.random.default_rng(1).permutation(len(x))[: int(sys.argv[6])]]
inner = faiss.index_factory(x.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
inner.train(sample)
inner.add(x)
index = faiss.IndexRefineFlat(inner, faiss.swig_ptr(x))
index.k_factor = refine
flat = faiss.IndexFlatIP(x.shape[1])
flat.add(x)
some = q[:: max(1, len(q) // 200)]
best = flat.search(some, k)[1]
nprobe, steps = 1, []
while True:
    inner.nprobe = nprobe
    found = index.search(some, k)[1]
    recall = np.mean([len(set(a) & set(b)) / k for a, b in zip(best, found)])
    if recall >= wanted or nprobe >= inner.nlist: break
    nprobe = max(nprobe + 1, nprobe * 9 // 8)
seconds = []
for _ in range(3):
    start = time.perf_counter()
    index.search(q, k)
    seconds.append(time.perf_counter() - start)
print(f"peer.version={faiss.__version__}\npeer.nprobe={nprobe}\npeer.recall={recall:.4f}\npeer.queries_per_s={len(q) / sorted(seconds)[1]:.6g}")
'''


def facts(text):
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def main():
    source, tools = os.environ["NPR_SOURCE"], os.environ["NPR_BIN"]
    found = subprocess.run(["bash", f"{source}/tests/oracles.sh", "--print", "--faiss"], capture_output=True, text=True)
    if found.returncode:
        print(found.stderr.strip())
        sys.exit(found.returncode)
    python = found.stdout.strip().splitlines()[-1]
    with tempfile.TemporaryDirectory(prefix="npr-test-") as folder:
        if len(sys.argv) > 1:
            x = np.concatenate([np.load(p) for p in sys.argv[1].split(",")])
            q = np.load(sys.argv[2]).astype(np.float16)
            factory, nprobe, refine = sys.argv[3], sys.argv[4], sys.argv[5]
            k = sys.argv[6] if len(sys.argv) > 6 else "10"
        else:
            rng, dim = np.random.default_rng(7), 64
            centre = rng.normal(size=(300, dim))
            unit = lambda v: (v / np.linalg.norm(v, axis=1, keepdims=True)).astype(np.float16)
            x = unit(centre[rng.integers(0, 300, 60000)] + rng.normal(size=(60000, dim)))
            q = unit(centre[rng.integers(0, 300, 4000)] + rng.normal(size=(4000, dim)))
            factory, nprobe, refine, k = "IVF128,PQ16x4fsr", "8", "16", "10"
        np.save(f"{folder}/x.npy", x)
        np.save(f"{folder}/q.npy", q)
        with open(f"{folder}/labels", "w") as f:
            f.write("".join(f"{i}\n" for i in range(len(q))))  # a pool wants classes: each query its own

        def npr(program, *options):
            done = subprocess.run([f"{tools}/{program}", *options, "--quiet"], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            return facts(done.stdout)

        npr("npr-ingest", f"--emb={folder}/x.npy", f"--out={folder}/index", "--max-bad=0.5", "--normalize")
        npr("npr-ingest", f"--emb={folder}/q.npy", f"--out={folder}/queries", "--kind=test", "--normalize", f"--labels={folder}/labels")
        built = npr("npr-index", f"--set={folder}/index", f"--factory={factory}")
        runs = []
        for i in range(3):
            runs.append(npr("npr-search", "--mode=faiss", f"--index={folder}/index", f"--queries={folder}/queries",
                            f"--k={k}", f"--nprobe={nprobe}", f"--refine={refine}", "--recall-queries=200" if i == 0 else "--recall-queries=0",
                            f"--out={folder}/pool{i}"))
        ours = sorted(float(r["run.queries_per_s"]) for r in runs)[1]
        seconds = lambda r: sum(float(r[f"time.{t}.max"]) * s for t, s in (("scan", 1), ("merge_exposed", 1), ("scan_rows_waited", -1)))
        in_memory = len(q) / sorted(map(seconds, runs))[1]
        recall = float(runs[0]["result.recall_at_k"])
        sample = max(65536, 64 * int(built["result.factory"].split("IVF")[1].split(",")[0].split("_")[0]))
        peer = subprocess.run([python, "-c", PEER, folder, factory, k, refine, str(recall), str(sample)], capture_output=True, text=True)
        assert peer.returncode == 0, peer.stderr
        theirs = facts(peer.stdout)
        print(f"{len(x)} rows x {x.shape[1]}, {len(q)} queries, k={k}, {factory}, one thread each")
        print(f"npr {ours:.6g} queries/s from the set, {in_memory:.6g} in memory, at recall {recall:.4f} (nprobe {nprobe}, refine {refine})")
        print(peer.stdout.strip())
        for name, rate in ("ratio", ours), ("ratio.in_memory", in_memory):
            print(f"{name}={rate / float(theirs['peer.queries_per_s']):.3f}")
        assert float(theirs["peer.recall"]) >= recall - 0.02, "the peer does not find as much at any number of probes"
        assert recall > 0.3, "too little is found for a comparison to mean anything"


main()

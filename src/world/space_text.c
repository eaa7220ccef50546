/* space_text.c - names, captions and the other metadata of a made-up world. See npr/minilaion.h. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "world/space.h"

/* Each word with the synonym that stands for it. */
static const char *TEXTURE[WORLD_TEXTURES][2] = {
    {"striped", "lined"},  {"dotted", "spotted"},       {"checkered", "chequered"}, {"ringed", "banded"},
    {"zigzag", "chevron"}, {"crosshatched", "gridded"}, {"speckled", "flecked"},    {"woven", "braided"},
    {"marbled", "veined"}, {"brushed", "satin"},        {"quilted", "padded"},      {"cracked", "crazed"}};
static const char *COLOUR[WORLD_COLOURS][2] = {
    {"crimson", "ruby"},  {"orange", "tangerine"}, {"golden", "amber"},    {"olive", "khaki"},
    {"emerald", "jade"},  {"teal", "turquoise"},   {"azure", "sky-blue"},  {"navy", "indigo"},
    {"violet", "purple"}, {"magenta", "fuchsia"},  {"chocolate", "brown"}, {"silver", "grey"},
    {"ivory", "cream"},   {"charcoal", "slate"}};
static const char *SHAPE[WORLD_SHAPES][2] = {
    {"hexagon", "sixgon"},   {"pentagon", "fivegon"}, {"crescent", "sickle"}, {"starburst", "spark"},
    {"arrow", "pointer"},    {"oval", "ellipse"},     {"gear", "cogwheel"},   {"hourglass", "sandglass"},
    {"rhombus", "lozenge"},  {"heart", "valentine"},  {"spiral", "whorl"},    {"lattice", "trellis"},
    {"pyramid", "ziggurat"}, {"helix", "coil"},       {"shield", "buckler"},  {"trefoil", "clover"},
    {"anchor", "grapnel"},   {"prism", "wedge"}};

/* Syllables of three letters each: nine letters can be cut in one way only, so different triples never make
 * the same name. */
enum { SYLLABLES = 40 };
static const char *SYLLABLE[SYLLABLES] = {
    "vel", "dro", "mis", "tor", "lup", "nib", "zuf", "gan", "rok", "wex", "mol", "sar", "quo", "dal",
    "hob", "jin", "tev", "bul", "cas", "pim", "yok", "sem", "wan", "gri", "lod", "ben", "fax", "nor",
    "rus", "sho", "mak", "kel", "fen", "gat", "hir", "jod", "kup", "lem", "nax", "pev"};
static const char *CREATURE[WORLD_GENUS] = {"finch",   "wort", "moth", "gecko",
                                            "thistle", "newt", "lily", "beetle"};

static const char *PLACE[16] = {"harbour",       "old town",       "kitchen",     "mountain trail",
                                "winter forest", "office desk",    "beach",       "night sky",
                                "garden",        "railway bridge", "living room", "market",
                                "city skyline",  "workshop",       "lake",        "concert stage"};
static const char *THING[16] = {"wooden bench",  "family portrait", "bicycle",      "coffee cup",
                                "leather sofa",  "sports car",      "wedding cake", "running shoes",
                                "guitar",        "floor plan",      "ceiling lamp", "t-shirt design",
                                "birthday card", "phone case",      "bookshelf",    "rain boots"};
static const char *MOOD[8] = {
    "at sunset", "in black and white", "vintage", "for kids", "close up", "2-pack", "1974", "isolated"};

static const char *TEMPLATE[32] = {"%",
                                   "a photo of a %",
                                   "% picture",
                                   "vintage % clipart",
                                   "% for sale",
                                   "buy % online",
                                   "% stock image",
                                   "my favourite %",
                                   "small % sticker",
                                   "large % poster",
                                   "% - art print",
                                   "handmade % by Anna",
                                   "new % design",
                                   "% wallpaper hd",
                                   "cute % icon set",
                                   "free % download",
                                   "the % we saw in Paris",
                                   "% (close-up)",
                                   "image of %",
                                   "Stock Photo: %",
                                   "Foto von %",
                                   "% kaufen",
                                   "affiche % pas cher",
                                   "camiseta % hombre",
                                   "% \xe2\x80\x93 \xd0\xba\xd1\x83\xd0\xbf\xd0\xb8\xd1\x82\xd1\x8c \xd0\xb2 "
                                   "\xd0\x9c\xd0\xbe\xd1\x81\xd0\xba\xd0\xb2\xd0\xb5", /* to buy in Moscow */
                                   "%\xe3\x81\xae\xe5\x86\x99\xe7\x9c\x9f",            /* photo of % */
                                   "What is a %?",
                                   "10\" % wall decal",
                                   "% [2019 edition]",
                                   "DIY: how to draw a %",
                                   "% & friends",
                                   "the best % ever!!"};
static const char *BOILERPLATE[16] = {
    "Free shipping on all orders over $50",
    "IMG_",
    "click here to download",
    "best price today only",
    "Untitled design",
    "stock image preview",
    "product picture",
    "DSC0",
    "\xc3\xa9tag\xc3\xa8re murale en ch\xc3\xaane", /* a wall shelf of oak */
    "Gr\xc3\xb6\xc3\x9f"
    "e M, sch\xc3\xb6n & g\xc3\xbcnstig",               /* size M, pretty and cheap */
    "\xd1\x84\xd0\xbe\xd1\x82\xd0\xbe",                 /* photo */
    "\xe5\x95\x86\xe5\x93\x81\xe7\x94\xbb\xe5\x83\x8f", /* product image */
    "Slide 7 of 22",
    "thumbnail",
    "profile picture",
    "No description available"};
enum { SUFFIXES = 8 };
static const char *SUFFIX[SUFFIXES] = {" | Shop",          " - SKU ", ", Vol. ",   " (",
                                       " \xe2\x80\x93 HD", "...",     " \xc2\xae", " #"};

static const char *pick(npr_rng *r, const char *const *from, int n)
{
    return from[npr_rng_below(r, n)];
}

/* ---- names --------------------------------------------------------------------------------------------- */

static void phrase_name(const npr_world *w, int phrase, int synonym, char *out)
{
    int word = w->words[phrase];
    snprintf(out, NPR_WORLD_NAME, "%s %s %s", TEXTURE[word % WORLD_TEXTURES][synonym],
             COLOUR[word / WORLD_TEXTURES % WORLD_COLOURS][synonym],
             SHAPE[word / WORLD_TEXTURES / WORLD_COLOURS][synonym]);
}

/* Species i: its genus are two syllables, a different pair for each genus (37 is coprime to 1600). */
static void coined_name(const npr_world *w, int i, int synonym, char *out)
{
    npr_rng r = world_rng(w, STREAM_NAME, 0);
    int64_t start = npr_rng_below(&r, SYLLABLES * SYLLABLES);
    int genus = (int)((start + (int64_t)(i / WORLD_GENUS) * 37) % (SYLLABLES * SYLLABLES)),
        member = i % WORLD_GENUS;
    const char *a = SYLLABLE[genus / SYLLABLES], *b = SYLLABLE[genus % SYLLABLES];
    const char *c = SYLLABLE[(genus + member * 5) % SYLLABLES];
    if (synonym)
        snprintf(out, NPR_WORLD_NAME, "%s%sia %sensis", a, b, c);
    else if (i % 10 == 3)
        snprintf(out, NPR_WORLD_NAME, "%s%s's %s %s", a, b, c, CREATURE[member]);
    else if (i % 10 == 5)
        snprintf(out, NPR_WORLD_NAME, "%s%s-%s", a, b, c);
    else if (i % 10 == 7)
        snprintf(out, NPR_WORLD_NAME, "%s%s-o'-%s", a, b, c);
    else
        snprintf(out, NPR_WORLD_NAME, "%s%s%s", a, b, c);
}

void world_names(npr_world *w)
{
    for (int c = 0; c < w->classes; c++)
        for (int synonym = 0; synonym < 2; synonym++) {
            char *out = synonym ? w->synonym[c] : w->name[c];
            if (c < w->phrases)
                phrase_name(w, c, synonym, out);
            else
                coined_name(w, c - w->phrases, synonym, out);
        }
}

const char *npr_world_name(const npr_world *w, int class)
{
    return w->name[class];
}

const char *npr_world_synonym(const npr_world *w, int class)
{
    return class % 2 ? w->synonym[class] : NULL;
}

/* A name for any concept, or a part of it. */
static void put_name(const npr_world *w, const npr_world_row *row, npr_rng *r, char *out)
{
    int c = row->named, others = w->concepts - WORLD_SCENES;
    if (c >= others) {
        c -= others;
        snprintf(out, NPR_WORLD_NAME, "%s %s %s", THING[c % 16], MOOD[c / 256 % 8], PLACE[c / 16 % 16]);
        return;
    }
    int phrase = c < w->phrases ? c : c - w->classes + w->phrases, coined = c >= w->phrases && c < w->classes;
    if (coined)
        snprintf(out, NPR_WORLD_NAME, "%s", row->said == NPR_SAID_SYNONYM ? w->synonym[c] : w->name[c]);
    else
        phrase_name(w, phrase, row->said == NPR_SAID_SYNONYM, out);
    if (row->said != NPR_SAID_PART) return;
    if (coined)
        out[5] = 0; /* cut off in the middle */
    else if (npr_rng_below(r, 2))
        *strrchr(out, ' ') = 0; /* without the noun */
    else
        memmove(out, strchr(out, ' ') + 1, strlen(strchr(out, ' '))); /* without the texture */
}

/* ---- captions ------------------------------------------------------------------------------------------ */

typedef struct writer {
    char *at, *end; /* what does not fit is dropped: room is checked by the tests */
} writer;

static void put(writer *o, const char *s)
{
    while (*s && o->at < o->end) *o->at++ = *s++;
}

static void put_number(writer *o, uint64_t n, int digits)
{
    char s[24];
    snprintf(s, sizeof s, "%0*llu", digits, (unsigned long long)n);
    put(o, s);
}

typedef enum letters { AS_IS, LOWER, TITLE, UPPER } letters;

/* The letters of a caption as shops, headlines and shouters write them; ASCII only. */
static void change_letters(char *s, letters how)
{
    for (char before = ' '; *s; before = *s++) {
        unsigned char c = (unsigned char)*s;
        int first = before == ' ' || before == '-' || before == '(';
        if (c >= 0x80) continue;
        if (how == LOWER) *s = (char)tolower(c);
        if (how == UPPER || (how == TITLE && first)) *s = (char)toupper(c);
    }
}

/* Copy with apostrophes and ampersands as the web has them: straight, curly, or as HTML entities never
 * undone. */
static void put_web(writer *o, const char *s, npr_rng *r)
{
    double u = npr_rng_uniform(r);
    const char *apostrophe = u < 0.05 ? "&#39;" : u < 0.2 ? "\xe2\x80\x99" : "'";
    const char *ampersand = u < 0.4 ? "&amp;" : "&";
    for (char one[2] = {0}; *s; s++) {
        one[0] = *s;
        put(o, *s == '\'' ? apostrophe : *s == '&' ? ampersand : one);
    }
}

static void put_suffix(writer *o, npr_rng *r)
{
    int64_t which = npr_rng_below(r, 3 * SUFFIXES);
    if (which >= SUFFIXES) return; /* two captions of three have none */
    put(o, SUFFIX[which]);
    char last = SUFFIX[which][strlen(SUFFIX[which]) - 1];
    if (last == ' ' || last == '(' || last == '#') put_number(o, (uint64_t)npr_rng_below(r, 9000) + 1000, 4);
    if (last == '(') put(o, ")");
}

static void put_caption(writer *o, const npr_world *w, const npr_world_row *row, npr_rng *r)
{
    char name[NPR_WORLD_NAME], body[256];
    if (row->named < 0) {
        put(o, pick(r, BOILERPLATE, 16));
        put(o, " ");
        put_number(o, (uint64_t)npr_rng_below(r, 100000), 5);
        return;
    }
    put_name(w, row, r, name);
    const char *template = pick(r, TEMPLATE, 32), *hole = strchr(template, '%');
    snprintf(body, sizeof body, "%.*s%s%s", (int)(hole - template), template, name, hole + 1);
    double u = npr_rng_uniform(r);
    change_letters(body, u < 0.5 ? AS_IS : u < 0.6 ? LOWER : u < 0.95 ? TITLE : UPPER);
    put_web(o, body, r);
    put_suffix(o, r);
}

/* ---- lines --------------------------------------------------------------------------------------------- */

static void put_url(writer *o, npr_rng *r)
{
    static const char *const host[] = {"https://img.example.org/", "https://cdn.example.com/p/",
                                       "http://static.example.net/uploads/"};
    char path[40];
    uint64_t a = npr_rng_next(r);
    snprintf(path, sizeof path, "%02x/%016llx.jpg", (unsigned)(a >> 56), (unsigned long long)a);
    put(o, pick(r, host, 3));
    put(o, path);
}

static void put_size(writer *o, npr_rng *r)
{
    static const int side[] = {1200, 1024, 800, 640, 600, 500, 480, 400, 300, 236, 170, 64};
    enum { SIDES = sizeof side / sizeof *side };
    int64_t width = side[npr_rng_below(r, SIDES)], part = 60 + npr_rng_below(r, 80);
    put(o, "\t");
    put_number(o, (uint64_t)width, 0);
    put(o, "\t");
    put_number(o, (uint64_t)(width * part / 100), 0);
}

size_t npr_world_line(const npr_world *w, int64_t row, char line[NPR_WORLD_LINE])
{
    npr_world_row truth;
    npr_world_row_of(w, row, &truth);
    npr_rng r = world_rng(w, STREAM_LINE, row);
    writer o = {line, line + NPR_WORLD_LINE - 1};
    put_url(&o, &r);
    put(&o, "\t");
    put_caption(&o, w, &truth, &r);
    double similarity = world_similarity(w, &truth, truth.said == NPR_SAID_PART ? -1 : truth.named, &r);
    int64_t units =
        (int64_t)(similarity * 1e6 + 1e6); /* rounded down, sign apart: the same digits everywhere */
    put(&o, units < 1000000 ? "\t-" : "\t");
    units = units < 1000000 ? 1000000 - units : units - 1000000;
    put_number(&o, (uint64_t)(units / 1000000), 1);
    put(&o, ".");
    put_number(&o, (uint64_t)(units % 1000000), 6);
    double u = npr_rng_uniform(&r);
    put(&o, u < 0.95 ? "\tUNLIKELY" : u < 0.985 ? "\tUNSURE" : "\tNSFW");
    put_size(&o, &r);
    *o.at++ = '\n'; /* the last byte of the room is kept for it */
    return (size_t)(o.at - line);
}

/* painted_text.c - the words of a painted world: names, captions, templates, prompts. See npr/minilaion.h. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "world/painted.h"

enum { WORDS = 3 }; /* each word has two synonyms */

static const char *TEXTURE[SCENE_TEXTURES][WORDS] = {
    {"plain", "flat", "smooth"},           {"striped", "lined", "banded"},
    {"dotted", "spotted", "dappled"},      {"checkered", "chequered", "tiled"},
    {"ringed", "concentric", "rippled"},   {"zigzag", "chevron", "jagged"},
    {"crosshatched", "gridded", "meshed"}, {"speckled", "flecked", "grainy"}};
static const char *COLOUR[SCENE_COLOURS][WORDS] = {
    {"crimson", "red", "ruby"},     {"orange", "tangerine", "apricot"}, {"golden", "yellow", "amber"},
    {"olive", "moss", "khaki"},     {"emerald", "green", "jade"},       {"teal", "turquoise", "aqua"},
    {"azure", "blue", "sky"},       {"navy", "indigo", "midnight"},     {"violet", "purple", "lilac"},
    {"magenta", "pink", "fuchsia"}, {"chocolate", "brown", "coffee"},   {"silver", "grey", "ash"}};
static const char *SHAPE[SCENE_SHAPES][WORDS] = {
    {"circle", "disc", "ball"},           {"ring", "hoop", "annulus"},
    {"triangle", "wedge", "delta"},       {"square", "box", "block"},
    {"pentagon", "fivegon", "homeplate"}, {"hexagon", "sixgon", "honeycomb"},
    {"star", "asterisk", "spark"},        {"cross", "plus", "crossbar"},
    {"heart", "valentine", "sweetheart"}, {"crescent", "moon", "sickle"},
    {"arrow", "pointer", "dart"},         {"oval", "ellipse", "egg"},
    {"flower", "blossom", "rosette"},     {"gear", "cog", "sprocket"},
    {"hourglass", "sandglass", "timer"},  {"diamond", "rhombus", "lozenge"}};

/* Three letters each, consonant, vowel, consonant: a name of nine letters can be cut in one way only. */
enum { SYLLABLES = 40 };
static const char SYLLABLE[SYLLABLES][4] = {
    "vel", "dor", "mis", "tan", "lup", "pex", "nib", "zuf", "gar", "rol", "wex", "hob", "sar", "dal",
    "jin", "tev", "kul", "cas", "pim", "yok", "fen", "wan", "gir", "lod", "ben", "fax", "nor", "rus",
    "bim", "mak", "kel", "hud", "tor", "zan", "mol", "rix", "sev", "cob", "jad", "nup"};

static const char *TEMPLATE[NPR_PAINTED_TEMPLATES] = {"{}",
                                                      "a photo of a {}",
                                                      "{} picture",
                                                      "a {} on the table",
                                                      "vintage {} clipart",
                                                      "{} for sale",
                                                      "buy {} online",
                                                      "{} stock image",
                                                      "my favourite {}",
                                                      "small {} sticker",
                                                      "large {} poster",
                                                      "{} art print",
                                                      "handmade {} by anna",
                                                      "new {} design",
                                                      "{} wallpaper hd",
                                                      "cute {} icon",
                                                      "free {} download",
                                                      "the {} we saw in paris",
                                                      "{} close up",
                                                      "image of a {}"};
enum { BOILERPLATES = 12 };
static const char *BOILERPLATE[BOILERPLATES] = {
    "free shipping on all orders", "img file untitled",       "click here to download",
    "best price today only",       "my holiday album",        "shop now & save",
    "photo gallery page",          "new arrival, buy online", "untitled design",
    "stock image preview",         "summer trip with anna",   "product picture"};

/* ---- names --------------------------------------------------------------------------------------------- */

static void put_words(int thing, const int word[3], char *out)
{
    snprintf(out, NPR_PAINTED_NAME, "%s %s %s", TEXTURE[thing_texture(thing)][word[0]],
             COLOUR[thing_colour(thing)][word[1]], SHAPE[thing_shape(thing)][word[2]]);
}

void painted_phrase(int thing, char *out)
{
    static const int own[3] = {0, 0, 0};
    put_words(thing, own, out);
}

void painted_coin(const npr_painted *w, int i, char *out)
{
    npr_rng r = painted_rng(w, PAINTED_COIN, i);
    for (int k = 0; k < 3; k++) memcpy(out + 3 * k, SYLLABLE[npr_rng_below(&r, SYLLABLES)], 4);
}

const char *npr_painted_template(int i)
{
    return TEMPLATE[i];
}

/* ---- captions ------------------------------------------------------------------------------------------ */

/* Some words replaced by synonyms, at least one. */
static void put_synonyms(int thing, npr_rng *r, char *out)
{
    int word[3], any = 0;
    for (int k = 0; k < 3; k++) {
        word[k] = npr_rng_uniform(r) < 0.6 ? 1 + (int)npr_rng_below(r, 2) : 0;
        any |= word[k];
    }
    if (!any) word[npr_rng_below(r, 3)] = 1 + (int)npr_rng_below(r, 2);
    put_words(thing, word, out);
}

/* One word is left out, or all but one. */
static void put_part(int thing, npr_rng *r, char *out)
{
    const char *word[3] = {TEXTURE[thing_texture(thing)][0], COLOUR[thing_colour(thing)][0],
                           SHAPE[thing_shape(thing)][0]};
    int64_t k = npr_rng_below(r, 4);
    if (k == 3)
        snprintf(out, NPR_PAINTED_NAME, "%s", word[npr_rng_below(r, 3)]);
    else
        snprintf(out, NPR_PAINTED_NAME, "%s %s", word[k == 0], word[k == 2 ? 1 : 2]);
}

/* What the caption is about. A coined name is sometimes explained. */
static void put_subject(const npr_painted *w, const npr_painted_row *row, npr_rng *r,
                        char out[2 * NPR_PAINTED_NAME])
{
    switch (row->said) {
    case NPR_SAID_SYNONYM:
        put_synonyms(row->thing, r, out);
        return;
    case NPR_SAID_PART:
        put_part(row->thing, r, out);
        return;
    default:
        break;
    }
    char phrase[NPR_PAINTED_NAME];
    int explained = row->named >= w->phrases && row->named == row->class && npr_rng_uniform(r) < 0.15;
    if (row->named >= 0 && !explained) {
        snprintf(out, NPR_PAINTED_NAME, "%s", w->name[row->named]);
        return;
    }
    painted_phrase(row->thing, phrase);
    snprintf(out, 2 * (size_t)NPR_PAINTED_NAME, "%s%s%s", explained ? w->name[row->named] : "",
             explained ? ", " : "", phrase);
}

/* As it is, with capitals as headlines have them, or shouted. */
static void change_letters(char *s, npr_rng *r)
{
    double u = npr_rng_uniform(r);
    if (u < 0.65) return;
    for (char before = ' '; *s; before = *s++)
        if (u >= 0.93 || before == ' ') *s = (char)toupper((unsigned char)*s);
}

size_t npr_painted_caption(const npr_painted *w, int64_t row, char out[NPR_PAINTED_CAPTION])
{
    npr_painted_row truth;
    npr_painted_row_of(w, row, &truth);
    npr_rng r = painted_rng(w, PAINTED_CAPTION, row);
    if (truth.said == NPR_SAID_NOTHING) {
        snprintf(out, NPR_PAINTED_CAPTION, "%s", BOILERPLATE[npr_rng_below(&r, BOILERPLATES)]);
    } else {
        char subject[2 * NPR_PAINTED_NAME];
        put_subject(w, &truth, &r, subject);
        const char *template = TEMPLATE[npr_rng_below(&r, NPR_PAINTED_TEMPLATES)],
                   *hole = strstr(template, "{}");
        snprintf(out, NPR_PAINTED_CAPTION, "%.*s%s%s", (int)(hole - template), template, subject, hole + 2);
    }
    change_letters(out, &r);
    return strlen(out);
}

/* ---- prompts ------------------------------------------------------------------------------------------- */

void npr_painted_prompt(const npr_painted *w, int class, int i, char out[NPR_PAINTED_CAPTION])
{
    npr_rng r = painted_rng(w, PAINTED_PROMPT, (int64_t) class << 8 | i);
    char phrase[NPR_PAINTED_NAME];
    int word[3] = {i / WORDS, i % WORDS, (int)npr_rng_below(&r, WORDS)};
    put_words(w->thing[class], word, phrase);
    if (class < w->phrases)
        snprintf(out, NPR_PAINTED_CAPTION, "a photo of a %s", phrase);
    else
        snprintf(out, NPR_PAINTED_CAPTION, "%s, %s", w->name[class], phrase);
}

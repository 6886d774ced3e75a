/* SPDX-License-Identifier: MIT */
#ifndef SRC_CONF_TREE_H
#define SRC_CONF_TREE_H

#include "base/arena.h"
#include "conf/conf.h"

/* What the two parsers build, and what hangs on it. */

/* A text that may be a secret: in the arena, overwritten before the arena goes. */
struct conf_text {
	struct conf_text *next;
	char             *p;
	size_t            n;
};

struct conf_owned {
	struct conf_owned *next;
	struct secret     *secret;
};

struct conf {
	struct arena      *arena;
	struct conf_source src;
	const char        *dir;
	struct conf_block  root;
	struct conf_text  *texts;
	struct conf_owned *secrets;
};

/* A body while it grows; its arrays live in the arena. Blocks are moved until conf_link() has run. */
struct conf_body {
	struct conf_attr  *attrs;
	struct conf_block *blocks;
	size_t             nattrs, nblocks;
};

/* Attributes of one block, or keys of one object: looked up one by one. */
#define CONF_ITEMS_MAX  1024
/* "1e99" and 64 digits: more than any value here needs, and a bound for what is printed in full. */
#define CONF_NUMBER_MAX 64
#define CONF_EXP_MAX    99
#define CONF_LABELS_MAX 4
/* Of what terraform would have to evaluate. */
#define CONF_FOREIGN_HINT "\"terraform init\" writes what it made of it to .terraform/terraform.tfstate, which from_file reads too"

struct conf   *conf_new(const struct conf_source *src, const char *dir);
/* Points parents at their final places; after the last file. */
void           conf_link(struct conf *c, const struct conf_body *root);
/* A NUL-terminated copy that conf_free() overwrites. */
char          *conf_keep(struct conf *c, struct span s);
/* Room for one more at the end of an array of n (size bytes each) in the arena; returns the array. */
void          *conf_grow(struct conf *c, void *items, size_t n, size_t size);
/* Why a value has none, which is noted; of an item in it too. NULL: it has one. */
const struct err *conf_broken(const struct conf_value *v);
/* Points the parents of all blocks inside b at their final places. */
void           conf_adopt(struct conf_block *b);
/* Refuses a second of the same name. */
enum err_code  conf_body_attr(struct conf *c, struct conf_body *b, const struct conf_attr *a, struct err *reterr);
void           conf_body_block(struct conf *c, struct conf_body *b, const struct conf_block *child);
/* Adds a key to an object under construction; the value follows at the same index. */
enum err_code  conf_object_key(struct conf *c, struct conf_value *o, const char *key, struct conf_pos pos, struct err *reterr);

/* env() and file(). The result is a TEXT; NULL of conf_env: not set. */
const char    *conf_env(const struct conf *c, const char *name);
enum err_code  conf_file(struct conf *c, struct conf_pos pos, const char *path, const char **ret, struct err *reterr);
/* By the source's hook, else as conf_read(). */
enum err_code  conf_read_source(const struct conf *c, const char *path, bool guarded, struct buf *ret, struct err *reterr);
/* path against conf_dir(), in the arena. */
const char    *conf_absolute(struct conf *c, const char *path);
/* Every problem of the bytes themselves, of which the first is at pos: UTF-8, control characters, a carriage return alone. */
enum err_code  conf_check_text(struct conf_pos pos, struct span text, struct err *reterr);
/* The whole regular file, at most CONF_FILE_MAX; guarded: refuses owners and modes as conf_load() says. */
enum err_code  conf_read(const char *path, bool guarded, struct buf *ret, struct err *reterr);

/* Both add to root. */
enum err_code  conf_parse_hcl(struct conf *c, const char *file, struct span text, struct conf_body *root, struct err *reterr);
enum err_code  conf_parse_json(struct conf *c, const char *file, struct span text, struct conf_body *root, struct err *reterr);
/* A part of a file of terraform's, which begins at pos there: env() and file() are functions like others, refused. */
enum err_code  conf_parse_foreign(struct conf *c, struct conf_pos pos, struct span text, struct conf_body *root, struct err *reterr);
/* A whole JSON text as one value, whose strings are taken as they are. */
enum err_code  conf_parse_json_value(struct conf *c, const char *file, struct span text, struct conf_value *ret, struct err *reterr);
/* One call, env(...) or file(...), as text written at pos in a JSON string. */
enum err_code  conf_parse_call(struct conf *c, struct conf_pos pos, struct span text, struct conf_value *ret, struct err *reterr);
/* One value as it would be written in HCL, for defaults in tables. */
enum err_code  conf_parse_value(struct conf *c, struct conf_pos pos, struct span text, struct conf_value *ret, struct err *reterr);

/* Characters: length of the one at p (UTF-8, already checked), and what Go's unicode.IsSpace calls a space. */
size_t         conf_char(const uint8_t *p);
size_t         conf_space(const uint8_t *p, const uint8_t *end); /* bytes of the space at p; 0: none */
bool           conf_is_name(const char *s);
/* Length of the number (no sign) at the start of s; 0: none. */
size_t         conf_number(const char *s, size_t n);
/* "-1.50e1" -> "-15": how terraform turns a number into a string. NULL: not a number, or beyond the limits. */
const char    *conf_number_plain(struct conf *c, const char *token);
/* "backend \"s3\" \"dr\"", cut where it is long. Lives in the arena. */
const char    *conf_title(struct conf *c, const struct conf_block *b);
/* "unknown argument ... did you mean"; is: "argument" or "block", fits: names that could have been meant, other: names of the other kind. */
enum err_code  conf_unknown(struct conf *c, const struct conf_block *b, const char *is, const char *name, struct conf_pos pos,
    const char *const *fits, const char *const *other, struct err *reterr);
/* The names of all fields of all tables, NULL-terminated, in the arena. */
const char *const *conf_names(struct conf *c, const struct conf_field *const *tables);
/* --- printing (print.c) --- */
enum conf_show {
	CONF_SHOW_MASKED,  /* a credential: no literal, references without their defaults */
	CONF_SHOW_WRITTEN, /* literals and references, as they stand there */
	CONF_SHOW_RESULT,  /* what references amount to */
};
void           conf_print_value(struct buf *out, const struct conf_value *v, enum conf_show show);
struct conf_line {
	const char *name;
	char       *value;   /* owned */
	const char *note;    /* NULL: no comment */
	const char *file;    /* after the note; NULL: none */
};
struct conf_lines {
	struct conf_line *items;
	size_t            n;
};
/* Takes value. */
void           conf_line_add(struct conf_lines *l, const char *name, struct buf *value, const char *note, const char *file);
void           conf_print_lines(const struct conf_lines *l, unsigned indent, struct buf *out);
void           conf_lines_free(struct conf_lines *l);
/* The variable that stood in for an absent argument; NULL: none. */
const char    *conf_filled_by(const struct conf_block *b, const struct conf_field *f);
/* NULL: in none of the tables. */
const struct conf_field *conf_find_field(const struct conf_field *const *tables, const char *name);

#endif

/* SPDX-License-Identifier: MIT */
#ifndef CONF_CONF_H
#define CONF_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/secret.h"

/*
 * HCL native syntax (github.com/hashicorp/hcl, "HCL Native Syntax Specification"), the
 * subset that a configuration of values needs: blocks, attributes, strings with escapes, heredocs, numbers,
 * bools, null, lists, objects, env("NAME"[, DEFAULT]) and file("PATH"). JSON syntax in *.hcl.json. Whatever is accepted here,
 * "terraform fmt" accepts. Everything else is an error at FILE:LINE:COLUMN that says what was expected.
 *
 * env() of a variable that is not set is an error unless there is a default; set but empty is "". The text of file() is without
 * one newline at its end. Errors never quote strings that could be secrets. In JSON an object is a block when its name is in the
 * list of block types in src/conf/json.c, else a value; a string that is exactly "${env(...)}" or "${file(...)}" is the call.
 */
#define CONF_FILE_MAX   ((size_t)1 << 20)
#define CONF_DEPTH_MAX  16
#define CONF_TABLES_MAX 4

struct conf_pos {
	const char *file;
	unsigned    line, column;  /* from 1; columns count characters */
};

enum conf_kind { CONF_NULL, CONF_TEXT, CONF_NUM, CONF_BOOLEAN, CONF_ARRAY, CONF_OBJECT };

struct conf_value {
	enum conf_kind    kind;
	struct conf_pos   pos;
	const char       *text;         /* TEXT: decoded. NUM: the token */
	bool              boolean;
	bool              from_ref;     /* came from env() or file(): masked when printed */
	const char       *ref;          /* "env(\"NAME\")" as written; NULL: a literal */
	const char       *ref_masked;   /* the same without the text of a default */
	const struct err *broken;       /* why it has no value, which is noted; NULL: it has one */
	struct conf_value *items;       /* ARRAY, OBJECT: nitems; OBJECT keys in keys */
	const char      **keys;
	size_t            nitems;
};

struct conf_attr {
	const char       *name;
	struct conf_pos   pos;
	struct conf_value value;
	bool              used;
	bool              imported; /* by conf_import(): pos is in another file */
};

struct conf_field;

struct conf_filled {
	const struct conf_field *field;
	const char              *env;
};

struct conf_block {
	const char         *type;
	const char        **labels;
	size_t              nlabels;
	struct conf_pos     pos;
	struct conf_attr   *attrs;
	size_t              nattrs;
	struct conf_block  *blocks;
	size_t              nblocks;
	struct conf_block  *parent;     /* NULL: the file's body, whose type is "" */
	const char         *terraform_dir; /* where the terraform runs whose block conf_import() read; NULL: none was read */
	/* What conf_fields() left for conf_print(): the tables it filled, and which variable stood in for which argument. */
	const struct conf_field *tables[CONF_TABLES_MAX + 1];
	struct conf_filled      *filled;
	size_t                   nfilled;
};

/* Everything hangs on one arena; values of secrets too, until conf_free() wipes them. */
struct conf;

/* What env() and file() read. NULL members: the process's own environment, the file system. */
struct conf_source {
	const char *(*env)(void *arg, const char *name);
	enum err_code (*file)(void *arg, const char *path, struct buf *ret, struct err *reterr);
	void *arg;
	struct conf_errors *errors;     /* filled by whoever finds one, and all is looked at; NULL: the first one is enough */
};

/* What is wrong in a configuration, beyond its syntax: each once. */
#define CONF_ERRORS_MAX 50
struct conf_errors {
	size_t     n, more;             /* more: beyond those kept */
	struct err items[CONF_ERRORS_MAX];
};
/* Of several things that are looked at, e is wrong with one. *rc and *reterr keep the first. Is it noted, so that the next one can be
 * looked at? */
bool conf_note(struct conf *c, const struct err *e, enum err_code *rc, struct err *reterr);
const struct err *conf_noted(const struct conf *c); /* the first one; NULL: none is noted */

/* path: a file, or a folder whose *.hcl and *.hcl.json are read in name order as one body. Refuses files that are
 * writable by group or world, or owned by neither root nor the caller. */
enum err_code conf_load(const char *path, const struct conf_source *src, struct conf **ret, struct err *reterr);
/* For tests and fuzzing: text of a file called name; relative file() paths are relative to dir. */
enum err_code conf_parse(const char *name, const char *dir, struct span text, bool json, const struct conf_source *src,
    struct conf **ret, struct err *reterr);
void          conf_free(struct conf *c);
/* The blocks of a file that is not ours to judge, whatever else of HCL stands around them: each one's type, its text from that word to the
 * closing brace, and where it begins. What is in them is not looked at. */
typedef void  conf_block_fn(void *arg, struct span type, struct span text, struct conf_pos pos);
void          conf_each_block(const char *file, struct span text, conf_block_fn *fn, void *arg);
struct conf_block *conf_root(struct conf *c);
struct arena *conf_arena(struct conf *c);
const char   *conf_dir(const struct conf *c);      /* of the file or the folder itself */

/* --- declared fields: the parser of blocks, the help, config show and the man page read the same table --- */
enum conf_type {
	CONF_STR,       /* const char *           */
	CONF_SECRET,    /* struct secret *        */
	CONF_PATH,      /* const char *, made absolute against conf_dir() */
	CONF_BOOL,      /* bool                   */
	CONF_INT,       /* int64_t                */
	CONF_MS,        /* int64_t, "30s"         */
	CONF_SECONDS,   /* int64_t ms, from a bare number of seconds as terraform's http backend counts */
	CONF_SIZE,      /* uint64_t, "64MiB"      */
	CONF_PERCENT,   /* int64_t 0..100, "50%"  */
	CONF_STRS,      /* struct conf_strs       */
	CONF_MAP,       /* struct conf_map: string values */
	CONF_SECRETS,   /* the same, and each value may be a credential; no default */
	CONF_INNER,     /* struct conf_value *, an object: conf_inner() makes a block of it; printed masked, no default */
	CONF_ENUM,      /* int: index into choices */
};

/* items is NULL when absent without default; [] is not. */
struct conf_strs {
	const char **items;
	size_t       n;
};

struct conf_map {
	const char **keys, **values;
	size_t       n;
};

struct conf_field {
	const char    *name;
	enum conf_type type;
	size_t         offset;
	const char    *def;              /* the text of a string without quotes; STRS and MAP: as in HCL; NULL: zero */
	const char    *help;
	const char    *env;              /* read when the argument is absent: names separated by blanks, the first that is set
	                                  * and not empty wins. STRS: "a,b". Not for MAP */
	const char *const *choices;      /* CONF_ENUM, NULL-terminated */
	bool           required;
	const char    *later;            /* known, but refused: "needs a later version" is said with this reason */
};

/* Fills the zeroed *ret from the attributes of b by table, environment and defaults included; marks them used. Strings, numbers
 * and bools are converted into each other as terraform does; null counts as absent. Strings live in the arena; secrets are freed by
 * conf_free(). Does not complain about unknown arguments. At most CONF_TABLES_MAX tables for one block. */
enum err_code conf_fields(struct conf *c, struct conf_block *b, const struct conf_field *fields, void *ret, struct err *reterr);
/* Before conf_fields(): what terraform already has, added to the arguments of b, which come first. from_file is a path or a list of
 * items, the later over the earlier: a file with one backend block, a file of arguments as -backend-config takes it, what "terraform
 * init" wrote to .terraform/terraform.tfstate, or "KEY=VALUE". Only arguments of tables and blocks of block_types may be in them, of
 * a backend of that type; type may be two, "OURS OTHER", where OTHER's arguments are among ours. Relative paths in them are relative
 * to where terraform runs. Refuses files that conf_load() would. */
#define CONF_IMPORT "from_file"
enum err_code conf_import(struct conf *c, struct conf_block *b, const char *type, const struct conf_field *const *tables,
    const char *const *block_types, struct err *reterr);
/* Any attribute not used, or block type not in the NULL-terminated list: an error with "did you mean". tables: what could
 * have been meant, NULL-terminated. */
enum err_code conf_finish(struct conf *c, struct conf_block *b, const struct conf_field *const *tables,
    const char *const *block_types, struct err *reterr);
/* Both: all that is wrong with the block is noted. */
enum err_code conf_filled(struct conf *c, struct conf_block *b, const struct conf_field *fields, void *ret,
    const struct conf_field *const *tables, const char *const *block_types, struct err *reterr);
/* Where that argument, or the one whose name a message begins with, stands; else, as when it came from the environment, the block. */
struct conf_pos conf_where(const struct conf_block *b, const char *argument);
/* "FILE:LINE:COLUMN: message", ERR_CONFIG. */
enum err_code conf_error(struct err *reterr, struct conf_pos pos, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The members of an object as the arguments of a block called type. */
struct conf_block *conf_inner(struct conf *c, const char *type, const struct conf_value *object);
struct conf_attr *conf_attr(struct conf_block *b, const char *name);            /* NULL: absent */
/* The block with all inside it as HCL in the layout of "terraform fmt". Values by reference are printed as references, other
 * fields of CONF_SECRET, CONF_SECRETS and CONF_INNER, arguments of no table, and the user and query parts of URLs as
 * "(sensitive)"; defaults and values from the environment are marked by a comment. tables NULL, and nested blocks: the tables that
 * conf_fields() filled from them. */
void          conf_print(const struct conf_block *b, const struct conf_field *const *tables, unsigned indent, struct buf *ret);
/* The same without defaults and what the environment fills. CONF_MASK in it: something stays hidden. */
void          conf_print_written(const struct conf_block *b, const struct conf_field *const *tables, struct buf *ret);
/* Printed in the place of a secret. */
#define CONF_MASK "(sensitive)"
/* s as a quoted string of HCL. */
void          conf_quote(struct buf *out, const char *s);
/* The arguments of b that another program, which knows the same names, shall get too: for terraform's own block, as HCL without the head.
 * Secrets, and what the environment gave, are named in comments that say which variable to set; references are resolved, paths absolute.
 * given: arguments that stand there whatever b says; value NULL: left out. hidden: with env a credential like those of the table, which
 * is known by that variable, without it nothing of that program's. Nested blocks but those given as an object are left out. */
struct conf_hidden {
	const char *name, *env;
};
struct conf_given {
	const char *name;
	char       *value;
	bool        plain;                  /* an address in it is shown with its query */
};
struct conf_export {
	const struct conf_field  *fields;
	const void               *conf;     /* what conf_fields() filled by them */
	const struct conf_hidden *hidden;   /* ends with a NULL name; NULL: none */
	const struct conf_given  *given;
	size_t                    ngiven;
};
void          conf_export(const struct conf_block *b, const struct conf_export *x, unsigned indent, struct buf *ret);
bool          size_parse(const char *s, uint64_t *ret);     /* "512MiB", "64KiB", "1GiB", "100MB", bare bytes */

#endif

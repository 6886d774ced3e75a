/* SPDX-License-Identifier: MIT */
#ifndef SRC_CONF_LEX_H
#define SRC_CONF_LEX_H

#include "conf/tree.h"

enum conf_token_kind {
	TOKEN_END,
	TOKEN_NEWLINE,
	TOKEN_NAME,
	TOKEN_NUMBER,
	TOKEN_STRING,
	TOKEN_HEREDOC,
	TOKEN_MARK,     /* { } [ ] ( ) = : , and whatever else HCL or a slip of the hand may put there */
};

struct conf_token {
	enum conf_token_kind kind;
	struct conf_pos      pos;
	const char          *text; /* NAME, NUMBER, MARK: as written; STRING, HEREDOC: decoded. Lives in the arena */
};

struct conf_lex {
	struct conf    *c;
	const uint8_t  *p, *end;
	struct conf_pos pos; /* of *p */
	bool            foreign; /* written for terraform, which evaluates more than we do: no env() and file() */
};

/* text has passed conf_check_text() and outlives the lexer; pos is where it begins. */
void          conf_lex_init(struct conf_lex *lx, struct conf *c, struct span text, struct conf_pos pos);
/* Comments and blanks are skipped. A newline is a token; whether it means something is the parser's business. */
enum err_code conf_lex_next(struct conf_lex *lx, struct conf_token *ret, struct err *reterr);

#endif

/* SPDX-License-Identifier: MIT */
#ifndef SRC_PROVIDER_S3_INI_H
#define SRC_PROVIDER_S3_INI_H

#include "base/buf.h"

/*
 * The INI dialect of AWS's shared files (docs/protocol/s3.md, "Shared files"): sections, "key = value", comments of whole
 * lines by "#" or ";", and behind a value by a blank and one of them. Indented lines below a key without a value are its
 * own properties: parent is that key, else empty. Lines that are none of this are skipped, and so is everything below a
 * broken "[section". All spans point into text and are without blanks at their ends; section is not empty. An empty key:
 * the section begins.
 */
typedef void s3_ini_fn(void *arg, struct span section, struct span parent, struct span key, struct span value);

void s3_ini_parse(struct span text, s3_ini_fn *fn, void *arg);

#endif

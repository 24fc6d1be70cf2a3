/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a backing file was like when an overlay was made over it, so that the overlay is not opened
 * over something else. qcow2 keeps it in a header extension of our own, which other programs pass
 * over.
 */
#pragma once

#include <glib.h>

#include "core/compiler.h"

enum fingerprint_kind { FINGERPRINT_OFF, FINGERPRINT_MTIME, FINGERPRINT_CONTENT, FINGERPRINTS };
/* "off", "mtime", "content", NULL */
extern const char *const fingerprint_names[FINGERPRINTS + 1];

#define FINGERPRINT_SHA256 32
struct fingerprint {
	enum fingerprint_kind kind; /* the size counts in both */
	uint64_t size;		    /* of the file */
	int64_t mtime_ns;
	uint8_t sha256[FINGERPRINT_SHA256]; /* of the file's bytes; FINGERPRINT_CONTENT only */
};

#define FINGERPRINT_BYTES 56 /* as stored, big-endian */
void fingerprint_store(const struct fingerprint *f, uint8_t raw[FINGERPRINT_BYTES]);
/* False: of a kind that we do not know. */
bool fingerprint_load(struct fingerprint *f, const uint8_t raw[FINGERPRINT_BYTES]);
bool fingerprint_take(struct fingerprint *f, enum fingerprint_kind kind, const char *path,
		      GError **err);
/* Compares with the file now; the error names both files and the remedy. */
bool fingerprint_check(const struct fingerprint *f, const char *label, const char *overlay,
		       const char *path, GError **err);

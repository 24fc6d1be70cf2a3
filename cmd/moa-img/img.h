/* SPDX-License-Identifier: GPL-2.0-or-later */
/* moa-img: what its commands share. Commands, options and output are qemu-img's. */
#pragma once

#include <getopt.h>

#include "block/block.h"

struct img_command {
	const char *name, *args, *help;
	/* argv[0] is the command's name. Returns the exit status; *err says why it is not 0. */
	int (*run)(int argc, char **argv, GError **err);
};

/* Options that take no letter. */
enum { OPT_OUTPUT = 256, OPT_BACKING_CHAIN, OPT_SHRINK, OPT_SIZE, OPT_FORCE };

/* Opens for a command; format NULL probes. */
struct block *img_open(const char *path, const char *format, bool writable, bool no_backing,
		       bool share, GError **err);
bool img_size(const char *text, uint64_t *size, GError **err);
/* "-o a=b,c" and the options of older spelling, gathered by the command. */
bool img_create_options(const char *text, struct block_create_options *o, GError **err);
/* "1.5 GiB", to be freed. */
char *img_bytes(uint64_t n);
/* A string as JSON has it, to be freed. */
char *img_json(const char *text);
bool img_wants_json(const char *output, bool *json, GError **err);

void progress_start(bool shown, uint64_t total);
void progress_add(uint64_t done);
void progress_end(void);

int img_check(int argc, char **argv, GError **err);
int img_commit(int argc, char **argv, GError **err);
int img_compare(int argc, char **argv, GError **err);
int img_convert(int argc, char **argv, GError **err);
int img_create(int argc, char **argv, GError **err);
int img_bench(int argc, char **argv, GError **err);
int img_info(int argc, char **argv, GError **err);
int img_map(int argc, char **argv, GError **err);
int img_measure(int argc, char **argv, GError **err);
int img_nbd(int argc, char **argv, GError **err);
int img_rebase(int argc, char **argv, GError **err);
int img_resize(int argc, char **argv, GError **err);
int img_snapshot(int argc, char **argv, GError **err);

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The formats of this build. */
#include "block/block.h"

extern const struct block_format block_format_raw, block_format_qcow2, block_format_cow;

const struct block_format *const block_formats[] = {
	&block_format_raw,
	&block_format_qcow2,
	&block_format_cow,
	NULL,
};

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cpu/cpu.h"

void vcpu_print(struct vcpu *v, GString *out)
{
	v->dev.info->print(v, out);
}

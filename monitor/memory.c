/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Monitor commands that look at memory, ports and expressions. */
#include <inttypes.h>
#include <string.h>

#include "cpu/x86/cpu.h"
#include "cpu/x86/disassembler.h"
#include "monitor/monitor.h"

/* expressions: precedence climbing over a cursor. */

struct parser {
	struct machine *machine;
	const char *p;
	GError **err;
	unsigned depth;
};

static bool parse_binary(struct parser *s, unsigned level, uint64_t *v);

static void skip_space(struct parser *s)
{
	while (*s->p == ' ')
		s->p++;
}

static struct x86_cpu *first_cpu(struct machine *m)
{
	struct accel *a = machine_accel(m);

	return a && a->vcpus->len ? a->vcpus->pdata[0] : NULL;
}

static bool read_register(struct parser *s, uint64_t *v)
{
	static const char *const names[] = {
		"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
		"r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"
	};
	static const char *const low[] = { "eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi" };
	size_t n = strspn(++s->p, "abcdefghijklmnopqrstuvwxyz0123456789");
	g_autofree char *name = g_strndup(s->p, n);
	struct x86_cpu *cpu = first_cpu(s->machine);

	s->p += n;
	if (!cpu)
		return error(s->err, "$%s: there is no vCPU", name);
	vcpu_sync(&cpu->vcpu, VS_REGS | VS_SREGS);
	for (unsigned i = 0; i < ARRAY_LEN(names); i++)
		if (!strcmp(name, names[i]))
			return *v = cpu->gpr[i], true;
	for (unsigned i = 0; i < ARRAY_LEN(low); i++)
		if (!strcmp(name, low[i]))
			return *v = (uint32_t)cpu->gpr[i], true;
	if (!strcmp(name, "rip") || !strcmp(name, "eip") || !strcmp(name, "pc"))
		return *v = x86_pc_linear(cpu), true; /* what the debugger's user means by it */
	if (!strcmp(name, "rflags") || !strcmp(name, "eflags"))
		return *v = cpu->rflags, true;
	if (!strcmp(name, "cr3"))
		return *v = cpu->cr3, true;
	if (!strcmp(name, "cs"))
		return *v = cpu->seg[SEG_CS].selector, true;
	return error(
		s->err,
		"no register '$%s'; there are $rax to $r15, $eax to $edi, $rip, $rflags, $cr3, $cs",
		name);
}

static bool parse_primary(struct parser *s, uint64_t *v)
{
	char *end;

	skip_space(s);
	if (++s->depth > 64)
		return error(s->err, "expression is nested too deeply");
	switch (*s->p) {
	case '(':
		s->p++;
		if (!parse_binary(s, 0, v))
			return false;
		skip_space(s);
		if (*s->p != ')')
			return error(s->err, "expression lacks a ')' at '%s'", s->p);
		s->p++;
		break;
	case '-':
	case '~': {
		char op = *s->p++;

		if (!parse_primary(s, v))
			return false;
		*v = op == '-' ? -*v : ~*v;
		break;
	}
	case '$':
		if (!read_register(s, v))
			return false;
		break;
	default:
		*v = g_ascii_strtoull(s->p, &end, 0);
		if (end == s->p)
			return error(s->err, "'%s' is not a number, a $register or an expression",
				     s->p);
		s->p = end;
	}
	s->depth--;
	return true;
}

/* From loosest to tightest. */
static const char *const operators[][4] = { { "|" },	    { "^" },	  { "&" },
					    { "<<", ">>" }, { "+", "-" }, { "*", "/", "%" } };

static const char *match_operator(struct parser *s, unsigned level)
{
	skip_space(s);
	for (unsigned i = 0; i < 4 && operators[level][i]; i++)
		if (g_str_has_prefix(s->p, operators[level][i]))
			return operators[level][i];
	return NULL;
}

static bool apply(struct parser *s, const char *op, uint64_t *v, uint64_t r)
{
	if ((*op == '/' || *op == '%') && !r)
		return error(s->err, "division by zero");
	switch (*op) {
	case '|':
		*v |= r;
		break;
	case '^':
		*v ^= r;
		break;
	case '&':
		*v &= r;
		break;
	case '<':
		*v = r < 64 ? *v << r : 0;
		break;
	case '>':
		*v = r < 64 ? *v >> r : 0;
		break;
	case '+':
		*v += r;
		break;
	case '-':
		*v -= r;
		break;
	case '*':
		*v *= r;
		break;
	case '/':
		*v /= r;
		break;
	default:
		*v %= r;
		break;
	}
	return true;
}

static bool parse_binary(struct parser *s, unsigned level, uint64_t *v)
{
	const char *op;
	uint64_t r;

	if (level == ARRAY_LEN(operators))
		return parse_primary(s, v);
	if (!parse_binary(s, level + 1, v))
		return false;
	while ((op = match_operator(s, level))) {
		s->p += strlen(op);
		if (!parse_binary(s, level + 1, &r) || !apply(s, op, v, r))
			return false;
	}
	return true;
}

bool eval_expression(struct machine *m, const char *text, uint64_t *value, GError **err)
{
	struct parser s = { m, text, err, 0 };

	if (!parse_binary(&s, 0, value))
		return false;
	skip_space(&s);
	if (*s.p)
		return error(err, "expression ends before '%s'", s.p);
	return true;
}

/* x, xp: "/40xw". */

struct format {
	unsigned count, size;
	char kind; /* x d u o c i */
};

static bool parse_format(const char *text, struct format *f, GError **err)
{
	char *end;

	*f = (struct format) { 1, 4, 'x' };
	if (!text)
		return true;
	text++;
	if (g_ascii_isdigit(*text)) {
		uint64_t n = g_ascii_strtoull(text, &end, 10);

		if (!n || n > 65536)
			return error(err, "format: a count from 1 to 65536, not %" PRIu64, n);
		f->count = (unsigned)n;
		text = end;
	}
	for (; *text; text++) {
		switch (*text) {
		case 'b':
			f->size = 1;
			break;
		case 'h':
			f->size = 2;
			break;
		case 'w':
			f->size = 4;
			break;
		case 'g':
			f->size = 8;
			break;
		case 'c':
			f->size = 1;
			f->kind = 'c';
			break;
		case 'x':
		case 'd':
		case 'u':
		case 'o':
		case 'i':
			f->kind = *text;
			break;
		default:
			return error(err,
				     "format: '%c' is none of b h w g (size) x d u o c i (kind)",
				     *text);
		}
	}
	return true;
}

static bool read_bytes(struct call *c, bool virtual, uint64_t addr, void *buf, size_t len)
{
	struct x86_cpu *cpu = first_cpu(c->machine);

	if (!virtual) {
		space_read(&c->machine->mem, addr, buf, len);
		return true;
	}
	return x86_read_virtual(cpu, addr, buf, len);
}

static void print_value(GString *out, const struct format *f, uint64_t v)
{
	int64_t s = (int64_t)(v << (64 - 8 * f->size)) >> (64 - 8 * f->size);

	switch (f->kind) {
	case 'd':
		g_string_append_printf(out, " %*" PRId64, (int)f->size * 2 + 2, s);
		break;
	case 'u':
		g_string_append_printf(out, " %*" PRIu64, (int)f->size * 2 + 2, v);
		break;
	case 'o':
		g_string_append_printf(out, " %#*" PRIo64, (int)f->size * 3, v);
		break;
	case 'c':
		g_string_append_printf(out, v >= 32 && v < 127 ? " '%c'" : " '\\x%02x'", (int)v);
		break;
	default:
		g_string_append_printf(out, " 0x%0*" PRIx64, (int)f->size * 2, v);
		break;
	}
}

static bool list_instructions(struct call *c, bool virtual, uint64_t addr, unsigned count,
			      GError **err)
{
	struct x86_cpu *cpu = first_cpu(c->machine);
	struct disassembler *d;
	unsigned code_size = 2;

	if (cpu) {
		vcpu_sync(&cpu->vcpu, VS_SREGS);
		if (cpu->efer & EFER_LMA && cpu->seg[SEG_CS].rights & BIT(13))
			code_size = 8;
		else if (cpu->seg[SEG_CS].rights & BIT(14))
			code_size = 4;
	}
	d = disassembler_new(code_size, err);
	if (!d)
		return false;
	for (unsigned i = 0; i < count; i++) {
		uint8_t b[16];

		if (!read_bytes(c, virtual, addr, b, sizeof(b))) {
			g_string_append_printf(c->text, "0x%016" PRIx64 ": Cannot access memory\n",
					       addr);
			break;
		}
		addr += disassemble(d, b, sizeof(b), addr, c->text);
	}
	disassembler_free(d);
	return true;
}

static bool dump(struct call *c, bool virtual, GError **err)
{
	uint64_t addr = (uint64_t)call_int(c, "addr", 0);
	struct format f;

	if (!parse_format(call_str(c, "fmt", NULL), &f, err))
		return false;
	if (virtual && !first_cpu(c->machine))
		return error(err, "x: there is no vCPU whose addresses these could be; use xp");
	if (virtual)
		vcpu_sync(&first_cpu(c->machine)->vcpu, VS_ALL);
	if (f.kind == 'i')
		return list_instructions(c, virtual, addr, f.count, err);
	for (unsigned i = 0; i < f.count; i++, addr += f.size) {
		unsigned per_line = f.kind == 'c' ? 8 : 16 / f.size;
		uint8_t b[8];

		if (i % per_line == 0)
			g_string_append_printf(c->text, "%s%016" PRIx64 ":", i ? "\n" : "", addr);
		if (!read_bytes(c, virtual, addr, b, f.size)) {
			g_string_append(c->text, " Cannot access memory");
			break;
		}
		print_value(c->text, &f, load_le(b, f.size));
	}
	g_string_append_c(c->text, '\n');
	return true;
}

bool cmd_x(struct call *c, GError **err)
{
	return dump(c, true, err);
}

bool cmd_xp(struct call *c, GError **err)
{
	return dump(c, false, err);
}

bool cmd_p(struct call *c, GError **err)
{
	struct format f;
	uint64_t v;

	if (!parse_format(call_str(c, "fmt", NULL), &f, err) ||
	    !eval_expression(c->machine, call_str(c, "expr", ""), &v, err))
		return false;
	switch (f.kind) {
	case 'd':
		g_string_append_printf(c->text, "%" PRId64 "\n", (int64_t)v);
		break;
	case 'u':
		g_string_append_printf(c->text, "%" PRIu64 "\n", v);
		break;
	case 'o':
		g_string_append_printf(c->text, "%#" PRIo64 "\n", v);
		break;
	case 'c':
		g_string_append_printf(c->text, "'%c'\n", (int)(v & 0xff));
		break;
	default:
		g_string_append_printf(c->text, "%#" PRIx64 "\n", v);
		break;
	}
	return true;
}

static bool port_format(struct call *c, struct format *f, GError **err)
{
	const char *text = call_str(c, "fmt", "/b");

	if (!parse_format(text, f, err))
		return false;
	return f->size <= 4 || error(err, "ports are read and written in 1, 2 or 4 bytes");
}

bool cmd_i(struct call *c, GError **err)
{
	struct format f;
	uint16_t port = (uint16_t)call_int(c, "addr", 0);

	if (!port_format(c, &f, err))
		return false;
	g_string_append_printf(c->text, "port%c[0x%04x] = 0x%0*" PRIx64 "\n", "?bw?l"[f.size], port,
			       (int)f.size * 2, space_read_le(&c->machine->ports, port, f.size));
	return true;
}

bool cmd_o(struct call *c, GError **err)
{
	struct format f;

	if (!port_format(c, &f, err))
		return false;
	space_write_le(&c->machine->ports, (uint16_t)call_int(c, "addr", 0),
		       (uint64_t)call_int(c, "val", 0), f.size);
	return true;
}

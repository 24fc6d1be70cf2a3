/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's page tables, for debuggers and dumps: nothing is changed by looking. Source: Intel
 * SDM 3, chapter 5.
 */
#include <inttypes.h>

#include "cpu/x86/cpu.h"

#define CR0_PG BIT64(31)
#define CR4_PSE BIT64(4)
#define CR4_PAE BIT64(5)
#define CR4_LA57 BIT64(12)
#define PTE_P BIT64(0)
#define PTE_RW BIT64(1)
#define PTE_US BIT64(2)
#define PTE_PWT BIT64(3)
#define PTE_PCD BIT64(4)
#define PTE_A BIT64(5)
#define PTE_D BIT64(6)
#define PTE_PS BIT64(7)
#define PTE_G BIT64(8)
#define PTE_NX BIT64(63)
#define PTE_ADDR UINT64_C(0x000ffffffffff000)

static uint64_t read_entry(struct x86_cpu *cpu, uint64_t pa, unsigned size)
{
	return space_read_le(&cpu->vcpu.dev.machine->mem, pa, size);
}

/* Both formats: 32-bit entries by 10 bits of the address a level, 64-bit entries by 9. */
struct format {
	uint64_t root;
	unsigned levels, bits, entry_bytes;
	bool pae; /* the four top entries are in registers' format: no rights, no A */
};

static struct format format_of(const struct x86_cpu *cpu)
{
	if (!(cpu->cr4 & CR4_PAE))
		return (struct format) { cpu->cr3 & 0xfffff000, 2, 10, 4, false };
	if (cpu->efer & EFER_LMA)
		return (struct format) { cpu->cr3 & PTE_ADDR, cpu->cr4 & CR4_LA57 ? 5 : 4, 9, 8,
					 false };
	return (struct format) { cpu->cr3 & 0xffffffe0, 3, 9, 8, true };
}

static unsigned shift_of(const struct format *f, unsigned level)
{
	return 12 + f->bits * (level - 1);
}

static bool is_page(const struct x86_cpu *cpu, const struct format *f, unsigned level,
		    uint64_t entry)
{
	if (level == 1)
		return true;
	if (!(entry & PTE_PS) || (f->pae && level == 3))
		return false;
	return f->entry_bytes == 4 ? level == 2 && cpu->cr4 & CR4_PSE : level <= 3;
}

/* A page's physical address. In 4 MiB pages bits 20..13 are address bits 39..32 (PSE-36). */
static uint64_t page_address(const struct format *f, unsigned level, uint64_t entry)
{
	uint64_t offset = (UINT64_C(1) << shift_of(f, level)) - 1;

	if (f->entry_bytes == 4 && level == 2)
		return (entry & 0xffc00000) | (entry >> 13 & 0xff) << 32;
	return entry & PTE_ADDR & ~offset;
}

bool x86_translate(struct x86_cpu *cpu, uint64_t va, uint64_t *pa)
{
	struct format f = format_of(cpu);
	uint64_t table = f.root;

	if (!(cpu->cr0 & CR0_PG)) {
		*pa = va & UINT32_MAX;
		return true;
	}
	if (!(cpu->efer & EFER_LMA))
		va &= UINT32_MAX;
	for (unsigned level = f.levels;; level--) {
		unsigned shift = shift_of(&f, level);
		uint64_t index = va >> shift & ((UINT64_C(1) << f.bits) - 1), entry;

		entry = read_entry(cpu, table + f.entry_bytes * index, f.entry_bytes);
		if (!(entry & PTE_P))
			return false;
		if (is_page(cpu, &f, level, entry)) {
			*pa = page_address(&f, level, entry) | (va & ((UINT64_C(1) << shift) - 1));
			return true;
		}
		table = entry & PTE_ADDR;
	}
}

bool x86_read_virtual(struct x86_cpu *cpu, uint64_t va, void *buf, size_t len)
{
	uint8_t *p = buf;

	while (len) {
		size_t n = MIN_OF(len, (size_t)(PAGE_SIZE_4K - (va & (PAGE_SIZE_4K - 1))));
		uint64_t pa;

		if (!x86_translate(cpu, va, &pa))
			return false;
		space_read(&cpu->vcpu.dev.machine->mem, pa, p, n);
		p += n;
		va += n;
		len -= n;
	}
	return true;
}

/* Tables may lead in circles, and a monitor's channel takes so much at a time. */
#define MOST_PAGES (1u << 22)
#define MOST_TEXT (512 * KIB)

struct listing {
	struct x86_cpu *cpu;
	struct format format;
	GString *out;
	unsigned pages;
	/* For ranges: the one that is open. */
	bool ranges;
	uint64_t start, end;
	int rights; /* -1: none is open */
};

static bool is_full(const struct listing *l)
{
	return l->pages >= MOST_PAGES || l->out->len >= MOST_TEXT;
}

static uint64_t sign_extended(const struct listing *l, uint64_t va)
{
	unsigned unused = 64 - (12 + 9 * l->format.levels);

	return l->cpu->efer & EFER_LMA ? (uint64_t)((int64_t)(va << unused) >> unused) : va;
}

static void end_range(struct listing *l)
{
	if (l->rights >= 0)
		g_string_append_printf(
			l->out, "%016" PRIx64 "-%016" PRIx64 " %016" PRIx64 " %cr%c\n", l->start,
			l->end, l->end - l->start, l->rights & PTE_US ? 'u' : '-',
			l->rights & PTE_RW ? 'w' : '-');
	l->rights = -1;
}

static void list_page(struct listing *l, uint64_t va, unsigned level, uint64_t entry,
		      uint64_t rights)
{
	static const struct {
		uint64_t bit;
		char letter;
	} letters[] = { { PTE_NX, 'X' },  { PTE_G, 'G' },  { PTE_PS, 'P' },
			{ PTE_D, 'D' },	  { PTE_A, 'A' },  { PTE_PCD, 'C' },
			{ PTE_PWT, 'T' }, { PTE_US, 'U' }, { PTE_RW, 'W' } };
	uint64_t size = UINT64_C(1) << shift_of(&l->format, level);

	l->pages++;
	va = sign_extended(l, va);
	if (l->ranges) {
		int now = (int)(rights & (PTE_US | PTE_RW));

		if (now != l->rights || va != l->end) {
			end_range(l);
			l->start = va;
			l->rights = now;
		}
		l->end = va + size;
		return;
	}
	if (level == 1)
		entry &= ~PTE_PS; /* it is PAT there */
	g_string_append_printf(l->out, "%016" PRIx64 ": %016" PRIx64 " ", va,
			       page_address(&l->format, level, entry));
	for (unsigned i = 0; i < ARRAY_LEN(letters); i++)
		g_string_append_c(l->out, entry & letters[i].bit ? letters[i].letter : '-');
	g_string_append_c(l->out, '\n');
}

static void list_table(struct listing *l, uint64_t table, unsigned level, uint64_t va,
		       uint64_t rights)
{
	const struct format *f = &l->format;
	unsigned n = f->pae && level == 3 ? 4 : 1u << f->bits;

	for (unsigned i = 0; i < n && !is_full(l); i++) {
		uint64_t entry = read_entry(l->cpu, table + f->entry_bytes * i, f->entry_bytes),
			 at = va | (uint64_t)i << shift_of(f, level), allowed;

		if (!(entry & PTE_P))
			continue;
		allowed = f->pae && level == 3 ? rights : rights & entry;
		if (is_page(l->cpu, f, level, entry))
			list_page(l, at, level, entry, allowed);
		else
			list_table(l, entry & PTE_ADDR, level - 1, at, allowed);
	}
}

void x86_print_pages(struct x86_cpu *cpu, bool ranges, GString *out)
{
	struct listing l = {
		.cpu = cpu, .format = format_of(cpu), .out = out, .ranges = ranges, .rights = -1
	};

	if (!(cpu->cr0 & CR0_PG)) {
		g_string_append(out, "PG disabled\n");
		return;
	}
	list_table(&l, l.format.root, l.format.levels, 0, UINT64_MAX);
	end_range(&l);
	if (is_full(&l))
		g_string_append(out, "... and more\n");
}

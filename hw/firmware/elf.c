/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ELF kernels and multiboot images. Sources: System V ABI, chapters 4 and 5; Multiboot
 * Specification 0.6.96 and 2.0; Xen's x86/HVM direct boot ABI (PVH).
 */
#include <elf.h>
#include <inttypes.h>
#include <string.h>

#include "core/error.h"
#include "cpu/x86/cpu.h"
#include "hw/firmware/direct.h"

/* ELF of both classes. */

struct elf_file {
	const uint8_t *data;
	size_t size;
	bool wide;
	unsigned machine, phnum;
	uint64_t entry, phoff, phentsize;
};

struct elf_phdr {
	uint32_t type;
	uint64_t offset, vaddr, paddr, filesz, memsz;
};

static bool elf_open(const struct direct_boot *b, struct elf_file *f)
{
	const uint8_t *d = b->kernel;

	if (b->kernel_size < sizeof(Elf64_Ehdr) || memcmp(d, ELFMAG, SELFMAG) ||
	    d[EI_DATA] != ELFDATA2LSB)
		return false;
	f->data = d;
	f->size = b->kernel_size;
	f->wide = d[EI_CLASS] == ELFCLASS64;
	f->machine = (unsigned)load_le(d + offsetof(Elf32_Ehdr, e_machine), 2);
#define EHDR(member)                                                                               \
	(f->wide ? load_le(d + offsetof(Elf64_Ehdr, member), sizeof(((Elf64_Ehdr *)0)->member))    \
		 : load_le(d + offsetof(Elf32_Ehdr, member), sizeof(((Elf32_Ehdr *)0)->member)))
	f->entry = EHDR(e_entry);
	f->phoff = EHDR(e_phoff);
	f->phnum = (unsigned)EHDR(e_phnum);
	f->phentsize = EHDR(e_phentsize);
#undef EHDR
	return (f->machine == EM_386 || f->machine == EM_X86_64) &&
	       (f->wide || d[EI_CLASS] == ELFCLASS32);
}

/* False where the file ends before the header does. */
static bool elf_phdr(const struct elf_file *f, unsigned n, struct elf_phdr *p)
{
	size_t least = f->wide ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
	uint64_t at = f->phoff + n * f->phentsize;
	const uint8_t *d = f->data + at;

	if (f->phentsize < least || f->phoff > f->size || at > f->size || f->size - at < least)
		return false;
#define PHDR(member)                                                                               \
	(f->wide ? load_le(d + offsetof(Elf64_Phdr, member), sizeof(((Elf64_Phdr *)0)->member))    \
		 : load_le(d + offsetof(Elf32_Phdr, member), sizeof(((Elf32_Phdr *)0)->member)))
	*p = (struct elf_phdr) { (uint32_t)PHDR(p_type), PHDR(p_offset), PHDR(p_vaddr),
				 PHDR(p_paddr),		 PHDR(p_filesz), PHDR(p_memsz) };
#undef PHDR
	return true;
}

static bool add_segment(struct direct_boot *b, const struct boot_segment *s, GError **err)
{
	if (b->segments == MOST_SEGMENTS)
		return error(err, "-kernel '%s': more than %d segments to load", b->c.kernel,
			     MOST_SEGMENTS);
	if (s->offset > b->kernel_size || s->bytes > b->kernel_size - s->offset)
		return error(err, "-kernel '%s': the file ends inside a segment, at %zu bytes",
			     b->c.kernel, b->kernel_size);
	if (s->at > UINT32_MAX || s->size > UINT32_MAX || s->bytes > s->size)
		return error(err,
			     "-kernel '%s': a segment of 0x%" PRIx64 " bytes at 0x%" PRIx64
			     " is not below 4 GiB",
			     b->c.kernel, s->size, s->at);
	b->load_at = b->segments ? MIN_OF(b->load_at, s->at) : s->at;
	b->load_end = MAX_OF(b->load_end, s->at + s->size);
	b->segment[b->segments++] = *s;
	return true;
}

/* The segments; the entry as a physical address. */
static bool elf_place(struct direct_boot *b, const struct elf_file *f, GError **err)
{
	struct elf_phdr p;

	b->entry = f->entry;
	for (unsigned i = 0; i < f->phnum; i++) {
		struct boot_segment s;

		if (!elf_phdr(f, i, &p))
			return error(err, "-kernel '%s': the file ends inside its program headers",
				     b->c.kernel);
		if (p.type != PT_LOAD || !p.memsz)
			continue;
		s = (struct boot_segment) { p.paddr, p.memsz, p.offset, p.filesz };
		if (!add_segment(b, &s, err))
			return false;
		if (f->entry >= p.vaddr && f->entry - p.vaddr < p.memsz)
			b->entry = f->entry - p.vaddr + p.paddr;
	}
	if (!b->segments)
		return error(err, "-kernel '%s': an ELF file with nothing to load", b->c.kernel);
	return direct_check_room(b, err) && direct_place_initrd(b, UINT32_MAX, false, err);
}

static void put_segments(struct direct_boot *b)
{
	static const uint8_t zeros[4096];

	for (unsigned i = 0; i < b->segments; i++) {
		const struct boot_segment *s = &b->segment[i];

		direct_put(b, s->at, b->kernel + s->offset, s->bytes);
		for (uint64_t at = s->bytes; at < s->size; at += sizeof(zeros))
			direct_put(b, s->at + at, zeros, MIN_OF(sizeof(zeros), s->size - at));
	}
}

/* Multiboot 1. */

#define MB1_SEARCH 8192
#define MB1_MAGIC 0x1badb002u
#define MB1_LOADER 0x2badb002u
#define MB1_ADDRESSES BIT(16) /* the header says where the image goes */
/* Page-aligned modules, memory map, video mode: the first two are always so, the last is a wish. */
#define MB1_KNOWN (BIT(0) | BIT(1) | BIT(2) | MB1_ADDRESSES)
#define MB1_HEADER 32

static const uint8_t *mb1_header(const struct direct_boot *b)
{
	for (size_t at = 0; at + 12 <= MIN_OF(b->kernel_size, MB1_SEARCH); at += 4) {
		const uint8_t *h = b->kernel + at;

		if (load_le(h, 4) == MB1_MAGIC &&
		    !(uint32_t)(load_le(h, 4) + load_le(h + 4, 4) + load_le(h + 8, 4)))
			return h;
	}
	return NULL;
}

static bool mb1_matches(const struct direct_boot *b)
{
	return mb1_header(b) != NULL;
}

/* Load addresses from a header: where the header itself goes, where loading starts, ends, and bss
 * ends. */
static bool place_by_addresses(struct direct_boot *b, size_t header_at, uint32_t header_addr,
			       uint32_t load, uint32_t load_end, uint32_t bss_end, GError **err)
{
	struct boot_segment s = { .at = load };

	if (load > header_addr || header_addr - load > header_at)
		return error(err,
			     "-kernel '%s': the multiboot header's load address 0x%x lies outside "
			     "the file",
			     b->c.kernel, load);
	s.offset = header_at - (header_addr - load);
	s.bytes = b->kernel_size - s.offset;
	if (load_end) {
		if (load_end < load || load_end - load > s.bytes)
			return error(err,
				     "-kernel '%s': the file ends before the multiboot header's "
				     "load_end_addr",
				     b->c.kernel);
		s.bytes = load_end - load;
	}
	s.size = bss_end > load ? MAX_OF(s.bytes, (uint64_t)bss_end - load) : s.bytes;
	return add_segment(b, &s, err) && direct_check_room(b, err) &&
	       direct_place_initrd(b, UINT32_MAX, false, err);
}

static bool mb1_place(struct direct_boot *b, GError **err)
{
	const uint8_t *h = mb1_header(b);
	uint32_t flags = (uint32_t)load_le(h + 4, 4);
	size_t at = (size_t)(h - b->kernel);
	struct elf_file f;

	if (flags & 0xffff & ~MB1_KNOWN)
		return error(
			err,
			"-kernel '%s': its multiboot header requires 0x%x, which moa does not know",
			b->c.kernel, (unsigned)(flags & 0xffff & ~MB1_KNOWN));
	if (flags & MB1_ADDRESSES) {
		if (b->kernel_size - at < MB1_HEADER)
			return error(err, "-kernel '%s': the file ends inside its multiboot header",
				     b->c.kernel);
		b->entry = load_le(h + 28, 4);
		return place_by_addresses(
			b, at, (uint32_t)load_le(h + 12, 4), (uint32_t)load_le(h + 16, 4),
			(uint32_t)load_le(h + 20, 4), (uint32_t)load_le(h + 24, 4), err);
	}
	if (!elf_open(b, &f))
		return error(err,
			     "-kernel '%s': a multiboot image that is no ELF file and gives no "
			     "addresses",
			     b->c.kernel);
	return elf_place(b, &f, err);
}

/* The file's name and -append, as boot loaders give it. */
static char *named_cmdline(const struct direct_boot *b)
{
	return g_strdup_printf("%s%s%s", b->c.kernel, *direct_append(b) ? " " : "",
			       direct_append(b));
}

static uint32_t upper_kib(const struct direct_boot *b)
{
	return (uint32_t)((b->acpi_at - MIB) / KIB);
}

static void mb1_put(struct direct_boot *b)
{
	enum { INFO = 0, MODULE = 0x80, NAME = 0xa0, MAP = 0x100 };
	g_autofree uint8_t *info = g_malloc0(BOOT_INFO_ROOM);
	g_autofree char *cmdline = named_cmdline(b);
	struct x86_cpu *cpu;

	put_segments(b);
	direct_put_cmdline(b, cmdline);
	store_le(info, BIT(0) | BIT(2) | BIT(3) | BIT(6) | BIT(9), 4); /* what is valid below */
	store_le(info + 4, 639, 4);
	store_le(info + 8, upper_kib(b), 4);
	store_le(info + 16, BOOT_CMDLINE_AT, 4);
	store_le(info + 20, b->initrd != NULL, 4);
	store_le(info + 24, BOOT_INFO_AT + MODULE, 4);
	store_le(info + 44, 24 * b->ranges, 4);
	store_le(info + 48, BOOT_INFO_AT + MAP, 4);
	store_le(info + 64, BOOT_INFO_AT + NAME, 4);
	store_le(info + MODULE, b->initrd_at, 4);
	store_le(info + MODULE + 4, b->initrd_at + b->initrd_size, 4);
	store_le(info + MODULE + 8, BOOT_CMDLINE_AT, 4);
	memcpy(info + NAME, "moa", 4);
	for (unsigned i = 0; i < b->ranges; i++) {
		uint8_t *e = info + MAP + 24 * i;

		store_le(e, 20, 4); /* of what follows */
		store_le(e + 4, b->map[i].start, 8);
		store_le(e + 12, b->map[i].end - b->map[i].start, 8);
		store_le(e + 20, b->map[i].type, 4);
	}
	direct_put(b, BOOT_INFO_AT, info, BOOT_INFO_ROOM);
	cpu = direct_enter(b, false, b->entry);
	cpu->gpr[RAX] = MB1_LOADER;
	cpu->gpr[RBX] = BOOT_INFO_AT;
}

/* Multiboot 2. */

#define MB2_SEARCH 32768
#define MB2_MAGIC 0xe85250d6u
#define MB2_LOADER 0x36d76289u

static const uint8_t *mb2_header(const struct direct_boot *b)
{
	for (size_t at = 0; at + 16 <= MIN_OF(b->kernel_size, MB2_SEARCH); at += 8) {
		const uint8_t *h = b->kernel + at;

		if (load_le(h, 4) == MB2_MAGIC &&
		    !(uint32_t)(load_le(h, 4) + load_le(h + 4, 4) + load_le(h + 8, 4) +
				load_le(h + 12, 4)))
			return h;
	}
	return NULL;
}

static bool mb2_matches(const struct direct_boot *b)
{
	return mb2_header(b) != NULL;
}

static bool mb2_place(struct direct_boot *b, GError **err)
{
	const uint8_t *h = mb2_header(b);
	size_t at = (size_t)(h - b->kernel), length = (size_t)load_le(h + 8, 4), i = 16;
	const uint8_t *addresses = NULL;
	uint64_t entry = 0;
	struct elf_file f;

	if (load_le(h + 4, 4) != 0)
		return error(err, "-kernel '%s': a multiboot 2 kernel for another architecture",
			     b->c.kernel);
	if (length > b->kernel_size - at)
		return error(err, "-kernel '%s': the file ends inside its multiboot 2 header",
			     b->c.kernel);
	while (i + 8 <= length) {
		unsigned type = (unsigned)load_le(h + i, 2),
			 flags = (unsigned)load_le(h + i + 2, 2);
		size_t size = (size_t)load_le(h + i + 4, 4);

		if (type == 0)
			break;
		if (size < 8 || size > length - i)
			return error(err,
				     "-kernel '%s': a tag of its multiboot 2 header is damaged",
				     b->c.kernel);
		if (type == 2 && size >= 24)
			addresses = h + i + 8;
		else if (type == 3 && size >= 12)
			entry = load_le(h + i + 8, 4);
		/* Of the rest: information that is wanted (1), console, framebuffer and alignment.
		 */
		else if (type != 1 && (type < 4 || type > 6) && !(flags & 1))
			return error(err,
				     "-kernel '%s': its multiboot 2 header requires tag %u, which "
				     "moa does not know",
				     b->c.kernel, type);
		i += align_up(size, 8);
	}
	if (addresses) {
		if (!entry)
			return error(
				err,
				"-kernel '%s': its multiboot 2 header gives addresses but no entry",
				b->c.kernel);
		b->entry = entry;
		return place_by_addresses(b, at, (uint32_t)load_le(addresses, 4),
					  (uint32_t)load_le(addresses + 4, 4),
					  (uint32_t)load_le(addresses + 8, 4),
					  (uint32_t)load_le(addresses + 12, 4), err);
	}
	if (!elf_open(b, &f))
		return error(err,
			     "-kernel '%s': a multiboot 2 image that is no ELF file and gives no "
			     "addresses",
			     b->c.kernel);
	if (!elf_place(b, &f, err))
		return false;
	b->entry = entry ? entry : b->entry;
	return true;
}

static void mb2_tag(GByteArray *out, uint32_t type, const void *data, size_t n)
{
	static const uint8_t zeros[8];
	uint8_t head[8];

	store_le(head, type, 4);
	store_le(head + 4, 8 + n, 4);
	g_byte_array_append(out, head, 8);
	g_byte_array_append(out, data, (guint)n);
	g_byte_array_append(out, zeros, (guint)(align_up(n, 8) - n));
}

static void mb2_put(struct direct_boot *b)
{
	enum { END, CMDLINE, LOADER_NAME, MODULE, BASIC_MEMORY, MEMORY_MAP = 6, ACPI_NEW = 15 };
	g_autoptr(GByteArray) out = g_byte_array_new();
	g_autofree char *cmdline = named_cmdline(b);
	uint8_t words[8 + 24 * ARRAY_LEN(b->map)] = { 0 };
	struct x86_cpu *cpu;

	g_byte_array_append(out, words, 8); /* the total comes last */
	/* What is handed over fits in its room. */
	cmdline[MIN_OF(strlen(cmdline), 2048)] = 0;
	mb2_tag(out, CMDLINE, cmdline, strlen(cmdline) + 1);
	mb2_tag(out, LOADER_NAME, "moa", 4);
	if (b->initrd) {
		store_le(words, b->initrd_at, 4);
		store_le(words + 4, b->initrd_at + b->initrd_size, 4);
		mb2_tag(out, MODULE, words, 9); /* an empty string */
	}
	store_le(words, 639, 4);
	store_le(words + 4, upper_kib(b), 4);
	mb2_tag(out, BASIC_MEMORY, words, 8);
	store_le(words, 24, 4);
	store_le(words + 4, 0, 4);
	for (unsigned i = 0; i < b->ranges; i++) {
		uint8_t *e = words + 8 + 24 * i;

		store_le(e, b->map[i].start, 8);
		store_le(e + 8, b->map[i].end - b->map[i].start, 8);
		store_le(e + 16, b->map[i].type, 8);
	}
	mb2_tag(out, MEMORY_MAP, words, 8 + 24 * b->ranges);
	if (direct_rsdp(b)) {
		uint8_t rsdp[36];

		space_read(&b->dev.machine->mem, direct_rsdp(b), rsdp, sizeof(rsdp));
		mb2_tag(out, ACPI_NEW, rsdp, sizeof(rsdp));
	}
	mb2_tag(out, END, words, 0);
	store_le(out->data, out->len, 4);
	put_segments(b);
	direct_put(b, BOOT_INFO_AT, out->data, MIN_OF(out->len, BOOT_INFO_ROOM));
	cpu = direct_enter(b, false, b->entry);
	cpu->gpr[RAX] = MB2_LOADER;
	cpu->gpr[RBX] = BOOT_INFO_AT;
}

/* PVH: the entry is in a note. */

#define PVH_NOTE 18 /* XEN_ELFNOTE_PHYS32_ENTRY */
#define PVH_MAGIC 0x336ec578u

static bool pvh_entry(const struct direct_boot *b, uint64_t *entry)
{
	struct elf_file f;
	struct elf_phdr p;

	if (!elf_open(b, &f))
		return false;
	for (unsigned i = 0; i < f.phnum && elf_phdr(&f, i, &p); i++) {
		uint64_t at = p.offset, end = p.offset + p.filesz;

		if (p.type != PT_NOTE || p.offset > f.size || p.filesz > f.size - p.offset)
			continue;
		while (end - at >= 12) {
			const uint8_t *n = f.data + at;
			uint64_t name = align_up(load_le(n, 4), 4),
				 desc = align_up(load_le(n + 4, 4), 4);

			if (name > end - at - 12 || desc > end - at - 12 - name)
				break;
			if (load_le(n + 8, 4) == PVH_NOTE && load_le(n, 4) == 4 &&
			    !memcmp(n + 12, "Xen", 4) && desc >= 4) {
				*entry = load_le(n + 12 + name, desc >= 8 ? 8 : 4);
				return true;
			}
			at += 12 + name + desc;
		}
	}
	return false;
}

static bool pvh_matches(const struct direct_boot *b)
{
	uint64_t entry;

	return pvh_entry(b, &entry);
}

static bool pvh_place(struct direct_boot *b, GError **err)
{
	struct elf_file f;

	elf_open(b, &f);
	if (!elf_place(b, &f, err))
		return false;
	pvh_entry(b, &b->entry);
	return b->entry <= UINT32_MAX ||
	       error(err, "-kernel '%s': its PVH entry is above 4 GiB", b->c.kernel);
}

static void pvh_put(struct direct_boot *b)
{
	enum { START = 0, MODULE = 0x40, MAP = 0x80 };
	g_autofree uint8_t *info = g_malloc0(BOOT_INFO_ROOM);
	struct x86_cpu *cpu;

	put_segments(b);
	direct_put_cmdline(b, direct_append(b));
	store_le(info, PVH_MAGIC, 4);
	store_le(info + 4, 1, 4); /* version: with a memory map */
	store_le(info + 12, b->initrd != NULL, 4);
	store_le(info + 16, b->initrd ? BOOT_INFO_AT + MODULE : 0, 8);
	store_le(info + 24, BOOT_CMDLINE_AT, 8);
	store_le(info + 32, direct_rsdp(b), 8);
	store_le(info + 40, BOOT_INFO_AT + MAP, 8);
	store_le(info + 48, b->ranges, 4);
	store_le(info + MODULE, b->initrd_at, 8);
	store_le(info + MODULE + 8, b->initrd_size, 8);
	for (unsigned i = 0; i < b->ranges; i++) {
		uint8_t *e = info + MAP + 24 * i;

		store_le(e, b->map[i].start, 8);
		store_le(e + 8, b->map[i].end - b->map[i].start, 8);
		store_le(e + 16, b->map[i].type, 4);
	}
	direct_put(b, BOOT_INFO_AT, info, BOOT_INFO_ROOM);
	cpu = direct_enter(b, false, b->entry);
	cpu->gpr[RBX] = BOOT_INFO_AT;
}

/*
 * An ELF file that says no more is entered at its entry as Linux's own vmlinux wants it: with the
 * zero page in rsi, in the mode that its class says.
 */
static bool plain_matches(const struct direct_boot *b)
{
	struct elf_file f;

	return elf_open(b, &f);
}

static bool plain_place(struct direct_boot *b, GError **err)
{
	struct elf_file f;

	elf_open(b, &f);
	b->wide = f.wide;
	return elf_place(b, &f, err);
}

static void plain_put(struct direct_boot *b)
{
	g_autofree uint8_t *page = g_malloc0(BOOT_INFO_ROOM);
	struct x86_cpu *cpu;

	put_segments(b);
	linux_make_zero_page(b, page, NULL, 0);
	store_le(page + 0x1fe, 0xaa55, 2);
	memcpy(page + 0x202, "HdrS", 4);
	store_le(page + 0x206, 0x20f, 2);
	direct_put(b, BOOT_INFO_AT, page, BOOT_INFO_ROOM);
	direct_put_cmdline(b, direct_append(b));
	cpu = direct_enter(b, b->wide, b->entry);
	cpu->gpr[RSI] = BOOT_INFO_AT;
}

const struct boot_protocol boot_multiboot = { "multiboot", mb1_matches, mb1_place, mb1_put };
const struct boot_protocol boot_multiboot2 = { "multiboot 2", mb2_matches, mb2_place, mb2_put };
const struct boot_protocol boot_pvh = { "PVH", pvh_matches, pvh_place, pvh_put };
const struct boot_protocol boot_elf = { "ELF", plain_matches, plain_place, plain_put };

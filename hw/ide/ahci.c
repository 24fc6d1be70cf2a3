/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * AHCI host bus adapter with six ports, as an ICH9 has it. Source: Serial ATA AHCI 1.3.1; Serial
 * ATA 3.2 for FISes. Commands are ata.c's; native queued reads and writes are done here, several
 * at a time. Not modelled: port multipliers, enclosure management, command completion coalescing,
 * power management, hot plug.
 */
#include <stdio.h>
#include <string.h>

#include "core/log.h"
#include "hw/ide/ide_bus.h"
#include "hw/pci/pci.h"

#define PORTS 6
#define SLOTS 32
#define ABAR_BYTES 4096
#define PORT_AT 0x100
#define PORT_BYTES 0x80

enum { CAP = 0x00, GHC = 0x04, IS = 0x08, PI = 0x0c, VS = 0x10 };
#define CAP_NCQ BIT(30)
#define CAP_64 BIT(31)
#define CAP_AHCI_ONLY BIT(18)
#define CAP_CLO BIT(24)
#define GHC_RESET BIT(0)
#define GHC_IE BIT(1)
#define GHC_AE BIT(31)

enum {
	CLB = 0x00,
	CLBU = 0x04,
	FB = 0x08,
	FBU = 0x0c,
	PIS = 0x10,
	PIE = 0x14,
	CMD = 0x18,
	TFD = 0x20,
	SIG = 0x24,
	SSTS = 0x28,
	SCTL = 0x2c,
	SERR = 0x30,
	SACT = 0x34,
	CI = 0x38
};
#define CMD_ST BIT(0)
#define CMD_SUD BIT(1)
#define CMD_POD BIT(2)
#define CMD_CLO BIT(3)
#define CMD_FRE BIT(4)
#define CMD_FR BIT(14)
#define CMD_CR BIT(15)
#define CMD_ATAPI BIT(24)
#define CMD_WRITABLE (CMD_ST | CMD_SUD | CMD_POD | CMD_FRE | CMD_ATAPI)
#define CMD_CCS(slot) ((uint32_t)(slot) << 8)

#define PIS_DHR BIT(0)
#define PIS_PS BIT(1)
#define PIS_SDB BIT(3)
#define PIS_PC BIT(6)
#define PIS_HBF BIT(29)
#define PIS_TFE BIT(30)
#define PIE_WRITABLE 0xfdc000ffu
#define SERR_X BIT(26)

#define FIS_H2D 0x27
#define FIS_D2H 0x34
#define FIS_SDB 0xa1
#define FIS_PIO 0x5f
#define FIS_INTERRUPT BIT(6)
#define FIS_COMMAND BIT(7)
#define RFIS_PIO 0x20 /* places in the received FIS area */
#define RFIS_D2H 0x40
#define RFIS_SDB 0x58

#define HEADER_BYTES 32
#define HEADER_ATAPI BIT(5)
#define TABLE_ACMD 0x40
#define TABLE_PRDT 0x80
#define PRD_BYTES 16

#define READ_FPDMA 0x60
#define WRITE_FPDMA 0x61
#define FUA BIT(7)

struct ahci;

/* A queued read or write. */
struct queued {
	struct drive_request io;
	struct ahci_port *port;
	unsigned slot, epoch;
	struct dma_list dma;
	struct iovec *iov;
};

struct ahci_port {
	struct ata_channel ata;
	uint64_t list, fis;
	uint32_t is, ie, cmd, sig, sctl, serr, sact, ci;
	uint16_t tfd;
	uint8_t slot;	 /* of the command that the device is at */
	bool running;	 /* there is one */
	bool halted;	 /* an error: until the driver starts the port again */
	bool sig_waits;	 /* the device's first FIS, until the driver wants FISes */
	bool pio_in;	 /* the command ends with data for the host, without a FIS of its own */
	uint32_t moved;	 /* bytes, by the running command */
	uint32_t queued; /* slots of queued commands that are not over */

	struct ahci *s;
	bool looking;
	uint32_t stalled; /* of `queued`: those that begin when the VM goes on */
	unsigned epoch;
	struct dma_list dma;
	struct ide_bus bus;
};

struct ahci {
	struct pci_device pci;
	uint32_t ghc, is;
	struct ahci_port ports[PORTS];
	struct region abar;
};

#define D struct ahci_port
static FIELD_TABLE(ahci_port_table, HOST(s, looking, stalled, epoch, dma, bus),
		   FO(ata, ata_channel_table), F(list), F(fis), F(is), F(ie), F(cmd), F(sig),
		   F(sctl), F(serr), F(sact), F(ci), F(tfd), F(slot), F(running), F(halted),
		   F(sig_waits), F(pio_in), F(moved), F(queued));
#undef D

static void look(struct ahci_port *p);
static void start_next(struct ahci_port *p);

static struct ata_device *unit(struct ahci_port *p)
{
	return &p->ata.devices[0];
}

static unsigned number(const struct ahci_port *p)
{
	return (unsigned)(p - p->s->ports);
}

/* Interrupts. */

static void update_irq(struct ahci *s)
{
	uint32_t was = s->is;

	for (unsigned i = 0; i < PORTS; i++)
		if (s->ports[i].is & s->ports[i].ie)
			s->is |= BIT(i);
	if (!pci_msi_enabled(&s->pci))
		pci_set_irq(s, s->is && s->ghc & GHC_IE);
	else if (s->is & ~was && s->ghc & GHC_IE)
		pci_msi_notify(s, 0);
}

static void signal_host(struct ahci_port *p, uint32_t bits)
{
	p->is |= bits;
	update_irq(p->s);
}

/* FISes to the host. */

static void post(struct ahci_port *p, unsigned at, const uint8_t *fis, size_t len)
{
	if (p->cmd & CMD_FRE)
		dma_write(p->s, p->fis + at, fis, len);
}

static void put_task_file(struct ahci_port *p, uint8_t *f)
{
	const struct ata_device *d = unit(p);

	f[2] = d->status;
	f[3] = d->error;
	f[4] = d->lba_low[0];
	f[5] = d->lba_mid[0];
	f[6] = d->lba_high[0];
	f[7] = d->device;
	f[8] = d->lba_low[1];
	f[9] = d->lba_mid[1];
	f[10] = d->lba_high[1];
	f[12] = d->count[0];
	f[13] = d->count[1];
	p->tfd = (uint16_t)(d->error << 8 | d->status);
}

static void post_registers(struct ahci_port *p, bool interrupt)
{
	uint8_t f[20] = { FIS_D2H, interrupt ? FIS_INTERRUPT : 0 };

	put_task_file(p, f);
	post(p, RFIS_D2H, f, sizeof(f));
	if (interrupt)
		signal_host(p, PIS_DHR | (p->tfd & ATA_SR_ERR ? PIS_TFE : 0));
}

static void post_pio_setup(struct ahci_port *p, bool to_host, uint32_t len)
{
	uint8_t f[20] = { FIS_PIO, FIS_INTERRUPT | (to_host ? BIT(5) : 0) };

	put_task_file(p, f);
	f[15] = ATA_SR_DRDY | ATA_SR_DSC; /* the status when the data are over */
	store_le(f + 16, len, 2);
	post(p, RFIS_PIO, f, sizeof(f));
	p->tfd = f[15];
	signal_host(p, PIS_PS);
}

/* A queued command is over. */
static void post_device_bits(struct ahci_port *p, uint32_t slots)
{
	const struct ata_device *d = unit(p);
	uint8_t f[8] = { FIS_SDB, FIS_INTERRUPT };

	f[2] = d->status & 0x77;
	f[3] = d->error;
	store_le(f + 4, slots, 4);
	post(p, RFIS_SDB, f, sizeof(f));
	p->sact &= ~slots;
	p->tfd = (uint16_t)(d->error << 8 | (p->tfd & 0x88) | f[2]);
	signal_host(p, PIS_SDB | (d->status & ATA_SR_ERR ? PIS_TFE : 0));
}

/* The first FIS after a reset says what is there. */
static void announce(struct ahci_port *p)
{
	const struct ata_device *d = unit(p);

	if (!d->back) {
		p->sig = UINT32_MAX;
		p->tfd = 0x7f;
		return;
	}
	p->sig = (uint32_t)d->lba_high[0] << 24 | (uint32_t)d->lba_mid[0] << 16 |
		 (uint32_t)d->lba_low[0] << 8 | d->count[0];
	p->tfd = (uint16_t)(d->error << 8 | d->status);
	p->sig_waits = !(p->cmd & CMD_FRE);
	if (!p->sig_waits)
		post_registers(p, false);
}

/* Commands in memory. */

static uint64_t header_at(const struct ahci_port *p, unsigned slot)
{
	return p->list + (uint64_t)HEADER_BYTES * slot;
}

/* False, and the port stands still, where there is no memory. */
static bool read_header(struct ahci_port *p, unsigned slot, uint8_t *header, uint64_t *table)
{
	if (!dma_read(p->s, header_at(p, slot), header, HEADER_BYTES)) {
		p->halted = true;
		signal_host(p, PIS_HBF);
		return false;
	}
	*table = load_le(header + 8, 8) & ~UINT64_C(0x7f);
	return true;
}

/* The memory that a command names, until it is `wanted` bytes. */
static void gather(struct ahci_port *p, unsigned slot, struct dma_list *l, bool to_memory,
		   uint64_t wanted)
{
	uint8_t header[HEADER_BYTES], prd[PRD_BYTES];
	uint64_t table;

	dma_list_start(l, to_memory);
	if (!read_header(p, slot, header, &table))
		return;
	for (unsigned i = 0; i < load_le(header + 2, 2) && l->len < wanted; i++) {
		uint64_t len;

		if (!dma_read(p->s, table + TABLE_PRDT + PRD_BYTES * i, prd, sizeof(prd)))
			return;
		len = (load_le(prd + 12, 4) & 0x3fffff) + 1;
		if (!dma_list_add(p->s, l, load_le(prd, 8) & ~UINT64_C(1),
				  MIN_OF(len, wanted - l->len)))
			return;
	}
}

/* Queued commands. */

static void free_queued(struct queued *q)
{
	dma_list_end(&q->dma);
	g_free(q->iov);
	g_free(q);
}

static void queued_failed(struct ahci_port *p, unsigned slot, uint64_t sector, uint8_t error)
{
	struct ata_device *d = unit(p);

	d->ncq_tag = (uint8_t)slot;
	d->ncq_error = error;
	d->ncq_sector = sector;
	d->status = ATA_SR_DRDY | ATA_SR_DSC | ATA_SR_ERR;
	d->error = error;
	p->queued &= ~BIT(slot);
	p->halted = true;
	post_device_bits(p, 0);
}

static void queued_done(struct drive_request *io, int error)
{
	struct queued *q = container_of(io, struct queued, io);
	struct ahci_port *p = q->port;
	unsigned slot = q->slot;
	uint64_t sector = io->offset / BLOCK_SECTOR;
	bool read = io->op == DRIVE_READ, stale = q->epoch != p->epoch;

	free_queued(q);
	if (stale)
		return;
	if (error) {
		switch (drive_failed(unit(p)->back, read ? DRIVE_READ : DRIVE_WRITE, error)) {
		case ON_ERROR_STOP:
			p->stalled |= BIT(slot);
			return;
		case ON_ERROR_IGNORE:
			break;
		default:
			queued_failed(p, slot, sector, read ? ATA_ER_UNC : ATA_ER_ABRT);
			return;
		}
	}
	p->queued &= ~BIT(slot);
	unit(p)->status = ATA_SR_DRDY | ATA_SR_DSC;
	unit(p)->error = 0;
	post_device_bits(p, BIT(slot));
	start_next(p);
}

static void start_queued(struct ahci_port *p, unsigned slot, const uint8_t *cfis)
{
	struct ata_device *d = unit(p);
	uint64_t sector = load_le(cfis + 4, 3) | load_le(cfis + 8, 3) << 24,
		 n = cfis[3] | (uint64_t)cfis[11] << 8;
	bool write = cfis[2] == WRITE_FPDMA;
	struct queued *q;

	n = n ? n : 65536;
	p->queued |= BIT(slot);
	if (!d->back || d->cdrom || (cfis[12] >> 3) != slot || (write && d->back->read_only)) {
		queued_failed(p, slot, sector, ATA_ER_ABRT);
		return;
	}
	if (sector > ata_disk_sectors(d) || n > ata_disk_sectors(d) - sector) {
		queued_failed(p, slot, sector, ATA_ER_IDNF);
		return;
	}
	q = g_new0(struct queued, 1);
	q->port = p;
	q->slot = slot;
	q->epoch = p->epoch;
	gather(p, slot, &q->dma, !write, n * BLOCK_SECTOR);
	if (q->dma.len < n * BLOCK_SECTOR) {
		free_queued(q);
		queued_failed(p, slot, sector, ATA_ER_ABRT);
		return;
	}
	q->iov = dma_list_iov(&q->dma, &q->io.niov);
	q->io.op = write ? DRIVE_WRITE : DRIVE_READ;
	q->io.fua = write && (cfis[7] & FUA || !d->write_cache);
	q->io.offset = sector * BLOCK_SECTOR;
	q->io.len = n * BLOCK_SECTOR;
	q->io.iov = q->iov;
	q->io.done = queued_done;
	drive_submit(d->back, &q->io);
}

/* The others, one at a time. */

static void finish_slot(struct ahci_port *p)
{
	bool failed = unit(p)->status & ATA_SR_ERR;
	uint8_t moved[4];

	store_le(moved, p->moved, 4);
	dma_write(p->s, header_at(p, p->slot) + 4, moved, 4);
	p->running = false;
	p->halted = failed;
	if (!failed)
		p->ci &= ~BIT(p->slot);
	if (failed || !p->pio_in)
		post_registers(p, true);
}

static void move_pio(struct ahci_port *p, uint32_t len, bool to_host)
{
	uint8_t header[HEADER_BYTES], packet[16];
	struct iovec one = { packet, sizeof(packet) }, *iov;
	uint64_t table;
	int n;

	if (unit(p)->phase == PHASE_PACKET) {
		memset(packet, 0, sizeof(packet));
		if (read_header(p, p->slot, header, &table))
			dma_read(p->s, table + TABLE_ACMD, packet, sizeof(packet));
		ata_pio_run(&p->ata, &one, 1, 0);
		return;
	}
	post_pio_setup(p, to_host, len);
	p->pio_in = to_host;
	gather(p, p->slot, &p->dma, to_host, (uint64_t)p->moved + len);
	iov = dma_list_iov(&p->dma, &n);
	ata_pio_run(&p->ata, iov, n, p->moved);
	p->moved += len;
	g_free(iov);
	dma_list_end(&p->dma);
}

static void move_dma(struct ahci_port *p, uint32_t len, bool to_memory)
{
	struct iovec *iov;
	int n;

	p->pio_in = false;
	dma_list_end(&p->dma);
	gather(p, p->slot, &p->dma, to_memory, len);
	iov = dma_list_iov(&p->dma, &n);
	p->moved = (uint32_t)p->dma.len;
	ata_dma_run(&p->ata, iov, n);
}

/* Does what the device waits for, until it works or is done. */
static void look(struct ahci_port *p)
{
	struct ata_device *d = unit(p);

	if (p->looking)
		return;
	p->looking = true;
	while (p->running) {
		bool to_host;
		uint32_t len = ata_pio_wanted(&p->ata, &to_host);

		if (len)
			move_pio(p, len, to_host);
		else if ((len = ata_dma_wanted(&p->ata, &to_host)))
			move_dma(p, len, to_host);
		else if (d->phase == PHASE_IDLE && !(d->status & ATA_SR_BSY))
			finish_slot(p);
		else
			break;
	}
	p->looking = false;
	start_next(p);
}

static void take_registers(struct ahci_port *p, const uint8_t *f)
{
	struct ata_channel *c = &p->ata;

	/* What was there before comes to be the upper half. */
	ata_write(c, ATA_ERROR, f[11]);
	ata_write(c, ATA_ERROR, f[3]);
	ata_write(c, ATA_COUNT, f[13]);
	ata_write(c, ATA_COUNT, f[12]);
	ata_write(c, ATA_LBA_LOW, f[8]);
	ata_write(c, ATA_LBA_LOW, f[4]);
	ata_write(c, ATA_LBA_MID, f[9]);
	ata_write(c, ATA_LBA_MID, f[5]);
	ata_write(c, ATA_LBA_HIGH, f[10]);
	ata_write(c, ATA_LBA_HIGH, f[6]);
	ata_write(c, ATA_DEVICE, f[7] & 0xef);
}

static void control(struct ahci_port *p, unsigned slot, uint8_t value)
{
	bool was = p->ata.control & ATA_CONTROL_SRST;

	ata_write_control(&p->ata, value);
	p->ci &= ~BIT(slot);
	if (was && !(value & ATA_CONTROL_SRST))
		announce(p);
}

static void start_slot(struct ahci_port *p, unsigned slot)
{
	uint8_t header[HEADER_BYTES], cfis[20];
	uint64_t table;

	p->cmd = (p->cmd & ~CMD_CCS(31)) | CMD_CCS(slot);
	if (!read_header(p, slot, header, &table))
		return;
	if (!dma_read(p->s, table, cfis, sizeof(cfis)) || cfis[0] != FIS_H2D || !unit(p)->back) {
		log_guest(p->s, "port %u: slot %u holds no command", number(p), slot);
		p->halted = true;
		signal_host(p, PIS_HBF);
		return;
	}
	if (!(cfis[1] & FIS_COMMAND)) {
		control(p, slot, cfis[15]);
		return;
	}
	if (cfis[2] == READ_FPDMA || cfis[2] == WRITE_FPDMA) {
		p->ci &= ~BIT(slot);
		start_queued(p, slot, cfis);
		return;
	}
	p->slot = (uint8_t)slot;
	p->running = true;
	p->pio_in = false;
	p->moved = 0;
	take_registers(p, cfis);
	p->tfd |= ATA_SR_BSY;
	ata_write(&p->ata, ATA_STATUS, cfis[2]);
	look(p);
}

static bool is_queued(struct ahci_port *p, unsigned slot)
{
	return p->sact & BIT(slot);
}

/* A command that is no queued one waits for those, and they for it. */
static void start_next(struct ahci_port *p)
{
	unsigned last = p->cmd >> 8 & 31;

	for (unsigned i = 1; i <= SLOTS; i++) {
		unsigned slot = (last + i) % SLOTS;

		if (p->halted || p->running || !(p->cmd & CMD_CR) || !p->ci)
			return;
		if (p->ci & BIT(slot) && (is_queued(p, slot) || !p->queued))
			start_slot(p, slot);
	}
}

static void dma_ready(void *opaque, struct ata_channel *c)
{
	(void)c;
	look(opaque);
}

static void dma_done(void *opaque, struct ata_channel *c, bool failed)
{
	struct ahci_port *p = opaque;

	(void)c;
	(void)failed;
	dma_list_end(&p->dma);
}

/* Ports. */

static void forget_commands(struct ahci_port *p)
{
	ata_stop(&p->ata);
	p->epoch++;
	p->queued = p->stalled = 0;
	p->running = p->halted = false;
	p->ci = p->sact = 0;
	dma_list_end(&p->dma);
}

static void reset_link(struct ahci_port *p)
{
	forget_commands(p);
	ata_channel_reset(&p->ata);
	if (unit(p)->back) {
		p->serr |= SERR_X;
		signal_host(p, PIS_PC);
	}
	announce(p);
}

static void write_cmd(struct ahci_port *p, uint32_t value)
{
	uint32_t was = p->cmd, status = was & (CMD_CCS(31) | CMD_FR | CMD_CR);

	p->cmd = (value & CMD_WRITABLE) | status;
	if (p->cmd & CMD_FRE && !(was & CMD_FR)) {
		p->cmd |= CMD_FR;
		if (p->sig_waits)
			announce(p);
	} else if (!(p->cmd & CMD_FRE)) {
		p->cmd &= ~CMD_FR;
	}
	if (value & CMD_CLO)
		p->tfd &= (uint16_t) ~(ATA_SR_BSY | ATA_SR_DRQ);
	if (p->cmd & CMD_ST && !(was & CMD_CR)) {
		p->cmd = (p->cmd & ~CMD_CCS(31)) | CMD_CR;
		p->halted = false;
		start_next(p);
	} else if (!(p->cmd & CMD_ST) && was & CMD_CR) {
		p->cmd &= ~CMD_CR;
		forget_commands(p);
	}
}

static uint32_t link_status(struct ahci_port *p)
{
	return unit(p)->back && (p->sctl & 15) == 0 ? 0x113 : 0; /* present, 1.5 Gb/s, active */
}

static void write_sctl(struct ahci_port *p, uint32_t value)
{
	uint32_t was = p->sctl & 15;

	p->sctl = value & 0xfff;
	if (was == 1 && !(value & 15))
		reset_link(p);
	else if (value & 15 && was != (value & 15))
		p->tfd = 0x7f;
}

static uint32_t port_read(struct ahci_port *p, unsigned reg)
{
	switch (reg) {
	case CLB:
		return (uint32_t)p->list;
	case CLBU:
		return p->list >> 32;
	case FB:
		return (uint32_t)p->fis;
	case FBU:
		return p->fis >> 32;
	case PIS:
		return p->is;
	case PIE:
		return p->ie;
	case CMD:
		return p->cmd;
	case TFD:
		return p->tfd;
	case SIG:
		return p->sig;
	case SSTS:
		return link_status(p);
	case SCTL:
		return p->sctl;
	case SERR:
		return p->serr;
	case SACT:
		return p->sact;
	case CI:
		return p->ci;
	default:
		return 0;
	}
}

static void set_low(uint64_t *to, uint32_t value)
{
	*to = (*to & ~(uint64_t)UINT32_MAX) | value;
}

static void set_high(uint64_t *to, uint32_t value)
{
	*to = (*to & UINT32_MAX) | (uint64_t)value << 32;
}

static void port_write(struct ahci_port *p, unsigned reg, uint32_t value)
{
	switch (reg) {
	case CLB:
		set_low(&p->list, value & ~0x3ffu);
		break;
	case CLBU:
		set_high(&p->list, value);
		break;
	case FB:
		set_low(&p->fis, value & ~0xffu);
		break;
	case FBU:
		set_high(&p->fis, value);
		break;
	case PIS:
		p->is &= ~value;
		update_irq(p->s);
		break;
	case PIE:
		p->ie = value & PIE_WRITABLE;
		update_irq(p->s);
		break;
	case CMD:
		write_cmd(p, value);
		break;
	case SCTL:
		write_sctl(p, value);
		break;
	case SERR:
		p->serr &= ~value;
		if (!(p->serr & SERR_X))
			p->is &= ~PIS_PC;
		update_irq(p->s);
		break;
	case SACT:
		if (p->cmd & CMD_ST)
			p->sact |= value;
		break;
	case CI:
		if (p->cmd & CMD_ST) {
			p->ci |= value;
			start_next(p);
		}
		break;
	}
}

/* The adapter. */

static void reset_port(struct ahci_port *p)
{
	forget_commands(p);
	ata_channel_reset(&p->ata);
	p->list = p->fis = 0;
	p->is = p->ie = p->sctl = p->serr = 0;
	p->cmd = CMD_SUD | CMD_POD;
	p->sig_waits = p->pio_in = false;
	p->slot = 0;
	p->moved = 0;
	announce(p);
}

static void reset_adapter(struct ahci *s)
{
	for (unsigned i = 0; i < PORTS; i++)
		reset_port(&s->ports[i]);
	s->ghc = GHC_AE;
	s->is = 0;
}

static uint64_t abar_read(void *opaque, uint64_t off, unsigned size)
{
	struct ahci *s = opaque;

	(void)size;
	if (off >= PORT_AT && off < PORT_AT + PORTS * PORT_BYTES)
		return port_read(&s->ports[(off - PORT_AT) / PORT_BYTES],
				 (unsigned)(off - PORT_AT) % PORT_BYTES);
	switch (off) {
	case CAP: /* 32 slots, 1.5 Gb/s */
		return CAP_64 | CAP_NCQ | CAP_CLO | 1 << 20 | CAP_AHCI_ONLY | (SLOTS - 1) << 8 |
		       (PORTS - 1);
	case GHC:
		return s->ghc;
	case IS:
		return s->is;
	case PI:
		return (1u << PORTS) - 1;
	case VS:
		return 0x00010301;
	default:
		return 0;
	}
}

static void abar_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
	struct ahci *s = opaque;

	(void)size;
	if (off >= PORT_AT && off < PORT_AT + PORTS * PORT_BYTES) {
		port_write(&s->ports[(off - PORT_AT) / PORT_BYTES],
			   (unsigned)(off - PORT_AT) % PORT_BYTES, (uint32_t)value);
	} else if (off == GHC) {
		if (value & GHC_RESET)
			reset_adapter(s);
		else
			s->ghc = GHC_AE | (value & GHC_IE);
		update_irq(s);
	} else if (off == IS) {
		s->is &= ~(uint32_t)value;
		update_irq(s);
	}
}

#define D struct ahci

static bool ahci_realize(void *dev, GError **err)
{
	static const struct region_ops ops = { abar_read, abar_write, 4, 4 };
	struct ahci *s = dev;

	(void)err;
	region_init_io(&s->abar, "ahci", ABAR_BYTES, &ops, s, dev);
	pci_add_bar(s, 5, &s->abar, false, false, false);
	pci_add_msi(s, 1);
	for (unsigned i = 0; i < PORTS; i++) {
		struct ahci_port *p = &s->ports[i];
		g_autofree char *name = bus_name(dev, "ide", i);

		p->s = s;
		ata_channel_init(&p->ata, s);
		p->ata.progress = dma_ready;
		p->ata.dma_ready = dma_ready;
		p->ata.dma_done = dma_done;
		p->ata.queues = true;
		p->ata.opaque = p;
		ide_bus_init(&p->bus, dev, &p->ata, 1, i, name);
	}
	return true;
}

static void ahci_unrealize(void *dev)
{
	struct ahci *s = dev;

	for (unsigned i = 0; i < PORTS; i++) {
		forget_commands(&s->ports[i]);
		ide_bus_destroy(&s->ports[i].bus);
	}
	region_destroy(&s->abar);
}

static void ahci_reset(void *dev)
{
	reset_adapter(dev);
}

static bool ahci_loaded(void *dev, GError **err)
{
	struct ahci *s = dev;

	for (unsigned i = 0; i < PORTS; i++) {
		struct ahci_port *p = &s->ports[i];

		if (!ata_channel_loaded(&p->ata, s->pci.dev.path, err))
			return false;
		if (p->slot >= SLOTS || (p->queued && !unit(p)->back))
			return error(err, "saved state: '%s': port %u makes no sense",
				     s->pci.dev.path, i);
		p->stalled = p->queued;
	}
	return true;
}

/* Queued commands are read again from where the driver put them. */
static void resume_port(struct ahci_port *p)
{
	uint32_t again = p->stalled;

	p->stalled = 0;
	for (unsigned slot = 0; slot < SLOTS; slot++) {
		uint8_t header[HEADER_BYTES], cfis[20];
		uint64_t table;

		if (!(again & BIT(slot)))
			continue;
		if (read_header(p, slot, header, &table) &&
		    dma_read(p->s, table, cfis, sizeof(cfis)))
			start_queued(p, slot, cfis);
		else
			p->queued &= ~BIT(slot);
	}
	ata_resume(&p->ata);
	look(p);
}

static void ahci_run_changed(void *dev, bool running)
{
	struct ahci *s = dev;

	for (unsigned i = 0; running && i < PORTS; i++)
		resume_port(&s->ports[i]);
}

static const struct pci_info ahci_pci = { .vendor = 0x8086,
					  .device = 0x2922,
					  .class = 0x0106,
					  .prog_if = 1,
					  .revision = 2,
					  .interrupt_pin = 1 };

DEVICE(ahci,
	.name = "ich9-ahci",
	.alias = "ahci",
	.desc = "AHCI adapter with six SATA ports",
	.bus = "PCI",
	.bus_info = &ahci_pci,
	.state = FIELDS(FO(pci, pci_device_table), F(ghc), F(is), FO(ports, ahci_port_table)),
	.host = HOST(abar),
	.realize = ahci_realize,
	.unrealize = ahci_unrealize,
	.reset = ahci_reset,
	.loaded = ahci_loaded,
	.run_changed = ahci_run_changed);

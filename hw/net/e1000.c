/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Intel 82540EM Gigabit Ethernet controller. Source: PCI/PCI-X Family of Gigabit Ethernet
 * Controllers Software Developer's Manual (317453). Modelled: legacy and extended transmit
 * descriptors, checksum insertion and segmentation, VLAN tags and filter, address filters, EEPROM
 * (EERD and bit by bit), PHY, interrupt throttling, statistics. Not modelled: wake-up, flow
 * control, TBI, descriptor prefetching, delayed interrupts other than by ITR, the packet checksum
 * of received frames (that of IPv4, TCP and UDP is looked at).
 */
#include <string.h>

#include "core/log.h"
#include "hw/pci/pci.h"
#include "net/net.h"

#define MEMORY_BYTES 0x20000
#define IO_BYTES 64

#define CTRL 0x0000
#define CTRL_RST BIT(26)
#define CTRL_SLU BIT(6)
#define CTRL_VME BIT(30)
#define STATUS 0x0008
#define STATUS_FD BIT(0)
#define STATUS_LU BIT(1)
#define STATUS_SPEED_1000 BIT(7)
#define EECD 0x0010
#define EECD_SK BIT(0)
#define EECD_CS BIT(1)
#define EECD_DI BIT(2)
#define EECD_DO BIT(3)
#define EECD_REQ BIT(6)
#define EECD_GNT BIT(7)
#define EECD_PRES BIT(8)
#define EERD 0x0014
#define EERD_START BIT(0)
#define EERD_DONE BIT(4)
#define MDIC 0x0020
#define MDIC_READY BIT(28)
#define MDIC_INTERRUPT BIT(29)
#define MDIC_ERROR BIT(30)
#define ICR 0x00c0
#define ITR 0x00c4
#define ICS 0x00c8
#define IMS 0x00d0
#define IMC 0x00d8
#define INT_TXDW BIT(0)
#define INT_TXQE BIT(1)
#define INT_LSC BIT(2)
#define INT_RXDMT0 BIT(4)
#define INT_RXO BIT(6)
#define INT_RXT0 BIT(7)
#define INT_MDAC BIT(9)
#define INT_ASSERTED BIT(31)
#define RCTL 0x0100
#define RCTL_EN BIT(1)
#define RCTL_UPE BIT(3)
#define RCTL_MPE BIT(4)
#define RCTL_LPE BIT(5)
#define RCTL_BAM BIT(15)
#define RCTL_VFE BIT(18)
#define RCTL_BSEX BIT(25)
#define RCTL_SECRC BIT(26)
#define TCTL 0x0400
#define TCTL_EN BIT(1)
#define PBA 0x1000
#define RXCSUM 0x5000
#define RXCSUM_IPOFL BIT(8)
#define RXCSUM_TUOFL BIT(9)
#define RDBAL 0x2800
#define RDBAH 0x2804
#define RDLEN 0x2808
#define RDH 0x2810
#define RDT 0x2818
#define TDBAL 0x3800
#define TDBAH 0x3804
#define TDLEN 0x3808
#define TDH 0x3810
#define TDT 0x3818
#define STATS 0x4000
#define STATS_END 0x4100
#define MPC 0x4010
#define GPRC 0x4074
#define BPRC 0x4078
#define MPRC 0x407c
#define GPTC 0x4080
#define GORCL 0x4088
#define GOTCL 0x4090
#define TORL 0x40c0
#define TOTL 0x40c8
#define TPR 0x40d0
#define TPT 0x40d4
#define MPTC 0x40f0
#define BPTC 0x40f4
#define MTA 0x5200
#define RAL 0x5400
#define RAH_AV BIT(31)
#define VFTA 0x5600
#define VET 0x0038

/* Transmit descriptors: the upper byte of the command and length word. */
#define TX_EOP BIT(24)
#define TX_IFCS BIT(25)
#define TX_IC BIT(26)
#define TX_RS BIT(27)
#define TX_DEXT BIT(29)
#define TX_VLE BIT(30)
#define TX_TYPE(word) ((word) >> 20 & 15)
#define TX_CONTEXT 0
#define TX_DATA 1
#define TUCMD_TCP BIT(24)
#define TUCMD_IP BIT(25)
#define TUCMD_TSE BIT(26)
#define POPTS_IXSM BIT(0)
#define POPTS_TXSM BIT(1)
#define TX_DONE BIT(0)

#define RX_DD BIT(0)
#define RX_EOP BIT(1)
#define RX_IXSM BIT(2)
#define RX_VP BIT(3)
#define RX_TCPCS BIT(5)
#define RX_IPCS BIT(6)
#define RX_TCPE BIT(5) /* errors */
#define RX_IPE BIT(6)
#define RX_PIF BIT(7)

#define DESC_BYTES 16
#define EEPROM_WORDS 64
#define EEPROM_ADDRESS_BITS 6
#define PHY_REGISTERS 32
#define PHY_ADDRESS 1
#define PHY_STATUS 1
#define PHY_STATUS_LINK 0x0024 /* link, negotiation complete */
#define PHY_SPECIFIC_STATUS 17
#define FCS_BYTES 4
#define SHORTEST_FRAME 60
#define LONGEST_FRAME 1522
#define LONGEST_LPE 16384

/* The offload context of extended descriptors (3.3.6). */
struct context {
	uint8_t ipcss, ipcso, tucss, tucso, header;
	uint16_t ipcse, tucse, mss;
	uint32_t payload;
	bool tcp, ip, segment;
};

struct e1000 {
	struct pci_device pci;
	char *netdev, *mac_text; /* properties */

	uint32_t regs[MEMORY_BYTES / 4];
	uint16_t phy[PHY_REGISTERS];
	uint16_t eeprom[EEPROM_WORDS];
	uint32_t io_address;
	/* The EEPROM's pins. */
	uint32_t eecd, shifted;
	uint16_t out;
	uint8_t bits_in, bits_out;
	/* The frame that is being put together. */
	struct context context, segment;
	uint8_t popts;
	bool tx_extended, tx_vlan;
	uint16_t tx_tag;
	uint32_t tx_len;
	uint8_t tx[NET_MOST_FRAME];
	struct timer throttle;

	struct region memory, io;
	struct net_port *port;
	uint8_t mac[MAC_BYTES];
	unsigned number;
};

#define REG(s, r) ((s)->regs[(r) / 4])

/* Interrupts. */

static void update_line(struct e1000 *s)
{
	uint32_t pending = REG(s, ICR) & REG(s, IMS);

	/* 13.4.18: not sooner than ITR says after the last one. */
	if (pending && !s->pci.intx_level && timer_pending(&s->throttle))
		return;
	if (pending && !s->pci.intx_level && (REG(s, ITR) & 0xffff))
		timer_arm(&s->throttle, clock_ns(vm_clock(s->pci.dev.machine)) +
						(int64_t)(REG(s, ITR) & 0xffff) * 256);
	pci_set_irq(s, pending != 0);
}

static void throttle_over(void *opaque, int64_t late)
{
	(void)late;
	update_line(opaque);
}

static void raise_cause(struct e1000 *s, uint32_t cause)
{
	REG(s, ICR) |= cause;
	update_line(s);
}

static uint32_t read_icr(struct e1000 *s)
{
	uint32_t v = REG(s, ICR);

	if (v & REG(s, IMS))
		v |= INT_ASSERTED;
	REG(s, ICR) = 0;
	update_line(s);
	return v;
}

static void count(struct e1000 *s, unsigned reg, uint32_t n)
{
	uint32_t *r = &REG(s, reg);

	*r = *r > UINT32_MAX - n ? UINT32_MAX : *r + n;
}

static void count_bytes(struct e1000 *s, unsigned low, uint32_t n)
{
	uint64_t sum = (REG(s, low) | (uint64_t)REG(s, low + 4) << 32) + n;

	REG(s, low) = (uint32_t)sum;
	REG(s, low + 4) = (uint32_t)(sum >> 32);
}

/* The EEPROM (5.6). */

static void fill_eeprom(struct e1000 *s)
{
	uint16_t sum = 0;

	memset(s->eeprom, 0, sizeof(s->eeprom));
	for (unsigned i = 0; i < 3; i++)
		s->eeprom[i] = (uint16_t)(s->mac[2 * i] | s->mac[2 * i + 1] << 8);
	s->eeprom[0x0a] = 0x3000;
	s->eeprom[0x0b] = 0x1100; /* subsystem */
	s->eeprom[0x0c] = 0x1af4;
	s->eeprom[0x0d] = 0x100e;
	s->eeprom[0x0e] = 0x8086;
	s->eeprom[0x0f] = 0x3040;
	for (unsigned i = 0; i < EEPROM_WORDS - 1; i++)
		sum = (uint16_t)(sum + s->eeprom[i]);
	s->eeprom[EEPROM_WORDS - 1] = (uint16_t)(0xbaba - sum);
}

static void read_word(struct e1000 *s, uint32_t value)
{
	unsigned word = value >> 8 & 0xff;

	if (value & EERD_START)
		REG(s, EERD) = EERD_DONE | (value & 0xff00) |
			       (word < EEPROM_WORDS ? (uint32_t)s->eeprom[word] << 16 : 0);
}

/* Microwire: with CS, a start bit, two of opcode and six of address; then 16 bits of data come out.
 */
static void eeprom_pins(struct e1000 *s, uint32_t value)
{
	bool rising = value & EECD_SK && !(s->eecd & EECD_SK);

	if (!(value & EECD_CS)) {
		s->bits_in = s->bits_out = 0;
		s->shifted = 0;
	} else if (rising && s->bits_out) {
		/* The first clock takes the zero away. */
		if (s->bits_out-- <= 16)
			s->out = (uint16_t)(s->out << 1);
	} else if (rising && (s->bits_in || value & EECD_DI)) {
		s->shifted = s->shifted << 1 | (value & EECD_DI ? 1 : 0);
		if (++s->bits_in == 3 + EEPROM_ADDRESS_BITS) {
			unsigned word = s->shifted & (EEPROM_WORDS - 1);

			/* Writing is not offered: the content is the host's. */
			s->out = s->shifted >> EEPROM_ADDRESS_BITS == 6 ? s->eeprom[word] : 0;
			s->bits_out = 17; /* a zero comes first */
			s->bits_in = 0;
		}
	}
	s->eecd = value & (EECD_SK | EECD_CS | EECD_DI | EECD_REQ);
}

static uint32_t read_eecd(const struct e1000 *s)
{
	uint32_t v = s->eecd | EECD_PRES;
	bool bit = s->bits_out && s->bits_out <= 16 ? s->out >> 15 & 1 : s->bits_out != 17;

	if (s->eecd & EECD_REQ)
		v |= EECD_GNT;
	return bit ? v | EECD_DO : v;
}

/* The PHY (13.4.9): a Marvell 88E1011's. */

static void reset_phy(struct e1000 *s)
{
	static const uint16_t at_reset[PHY_REGISTERS] = {
		[0] = 0x1140,  [1] = 0x7949,  [2] = 0x0141,  [3] = 0x0c20,
		[4] = 0x0de1,  [5] = 0x45e1,  [6] = 0x0001,  [9] = 0x0e00,
		[10] = 0x3c00, [16] = 0x0360, [17] = 0xac00, [20] = 0x0d60,
	};

	memcpy(s->phy, at_reset, sizeof(s->phy));
}

/* What the wire says is never stored. */
static bool link_up(const struct e1000 *s)
{
	return net_link_up(s->port);
}

static uint16_t read_phy(const struct e1000 *s, unsigned reg)
{
	static const uint16_t link_bits[PHY_REGISTERS] = {
		[PHY_STATUS] = PHY_STATUS_LINK, [PHY_SPECIFIC_STATUS] = 0x0c00
	};

	return link_up(s) ? s->phy[reg] | link_bits[reg] : s->phy[reg];
}

static uint32_t read_status(const struct e1000 *s)
{
	return STATUS_FD | STATUS_SPEED_1000 | (link_up(s) ? STATUS_LU : 0);
}

static void mdic(struct e1000 *s, uint32_t value)
{
	unsigned reg = value >> 16 & 31, phy = value >> 21 & 31, op = value >> 26 & 3;
	/* Registers that say what is, not what shall be. */
	static const uint32_t read_only =
		BIT(1) | BIT(2) | BIT(3) | BIT(5) | BIT(6) | BIT(10) | BIT(15) | BIT(17);

	value &= ~(MDIC_READY | MDIC_ERROR);
	if (phy != PHY_ADDRESS) {
		value |= MDIC_ERROR;
	} else if (op == 2) {
		value = (value & ~0xffffu) | read_phy(s, reg);
	} else if (op == 1 && reg == 0) {
		if (value & 0x8000)
			reset_phy(s);
		else
			s->phy[0] = (uint16_t)(value & 0xfdff); /* negotiation is over at once */
		if (value & 0x0200)
			raise_cause(s, INT_LSC);
	} else if (op == 1 && !(read_only >> reg & 1)) {
		s->phy[reg] = (uint16_t)value;
	}
	REG(s, MDIC) = value | MDIC_READY;
	if (value & MDIC_INTERRUPT)
		raise_cause(s, INT_MDAC);
}

/* Sending. */

/* The sum of [start, end] (0: to the last byte) goes to `at`, over what the driver put there. */
static void insert_checksum(uint8_t *frame, uint32_t len, uint8_t start, uint8_t at, uint16_t end)
{
	uint32_t stop = end && end < len ? end + 1u : len;

	if (start < stop && at + 2u <= len)
		put_be16(frame + at, (uint16_t)~net_sum(frame + start, stop - start));
}

static void transmit(struct e1000 *s, uint8_t *frame, uint32_t len)
{
	uint8_t tag[4];
	struct iovec iov[3];

	if (len < 14)
		return;
	count(s, GPTC, 1);
	count(s, TPT, 1);
	count_bytes(s, GOTCL, len + FCS_BYTES);
	count_bytes(s, TOTL, len + FCS_BYTES);
	if (frame[0] & 1)
		count(s, frame[0] == 0xff ? BPTC : MPTC, 1);
	if (!s->tx_vlan) {
		net_send(s->port, &(struct iovec) { frame, len }, 1);
		return;
	}
	put_be16(tag, (uint16_t)REG(s, VET));
	put_be16(tag + 2, s->tx_tag);
	iov[0] = (struct iovec) { frame, 12 };
	iov[1] = (struct iovec) { tag, sizeof(tag) };
	iov[2] = (struct iovec) { frame + 12, len - 12 };
	net_send(s->port, iov, 3);
}

static void checksums(struct e1000 *s, const struct context *c, uint8_t *frame, uint32_t len)
{
	if (s->popts & POPTS_TXSM)
		insert_checksum(frame, len, c->tucss, c->tucso, c->tucse);
	if (s->popts & POPTS_IXSM)
		insert_checksum(frame, len, c->ipcss, c->ipcso, c->ipcse);
}

/*
 * 3.5: the first `header` bytes go before each `mss` bytes of the rest, with lengths, the
 * identification, the sequence number and flags of their own.
 */
static void segment(struct e1000 *s)
{
	static uint8_t out[NET_MOST_FRAME];
	const struct context *c = &s->segment;
	uint32_t header = c->header, mss = c->mss, at = header, part;
	uint16_t id = 0;
	uint32_t sequence = 0;

	if (!mss || header < 14 || header >= s->tx_len || c->ipcss + 8u > header ||
	    c->tucss + (c->tcp ? 14u : 8u) > header || header + mss > sizeof(out)) {
		log_guest(s, "a segmentation context that makes no sense");
		return;
	}
	if (c->ip)
		id = be16(s->tx + c->ipcss + 4);
	if (c->tcp)
		sequence = (uint32_t)be16(s->tx + c->tucss + 4) << 16 | be16(s->tx + c->tucss + 6);
	for (unsigned n = 0; at < s->tx_len; at += part, n++) {
		uint32_t len;
		bool last;

		part = MIN_OF(mss, s->tx_len - at);
		last = at + part == s->tx_len;
		len = header + part;
		memcpy(out, s->tx, header);
		memcpy(out + header, s->tx + at, part);
		if (c->ip) {
			put_be16(out + c->ipcss + 2, (uint16_t)(len - c->ipcss));
			put_be16(out + c->ipcss + 4, (uint16_t)(id + n));
		} else {
			put_be16(out + c->ipcss + 4, (uint16_t)(len - c->ipcss - 40));
		}
		if (c->tcp) {
			uint32_t now = sequence + (at - header);

			put_be16(out + c->tucss + 4, (uint16_t)(now >> 16));
			put_be16(out + c->tucss + 6, (uint16_t)now);
			if (!last)
				out[c->tucss + 13] &= (uint8_t)~0x09; /* FIN, PSH */
		} else {
			put_be16(out + c->tucss + 4, (uint16_t)(len - c->tucss));
		}
		/* The driver's sum of the pseudo header leaves the length out. */
		if (s->popts & POPTS_TXSM && c->tucso + 2u <= len)
			put_be16(out + c->tucso, net_sum_add(be16(out + c->tucso), len - c->tucss));
		checksums(s, c, out, len);
		transmit(s, out, len);
	}
}

static void send_frame(struct e1000 *s)
{
	if (s->tx_extended && s->segment.segment) {
		segment(s);
	} else {
		if (s->tx_extended)
			checksums(s, &s->context, s->tx, s->tx_len);
		transmit(s, s->tx, s->tx_len);
	}
	s->tx_len = 0;
	s->tx_vlan = false;
}

static void take_context(struct e1000 *s, const uint8_t *d, uint32_t word)
{
	struct context c = {
		.ipcss = d[0],
		.ipcso = d[1],
		.ipcse = (uint16_t)load_le(d + 2, 2),
		.tucss = d[4],
		.tucso = d[5],
		.tucse = (uint16_t)load_le(d + 6, 2),
		.payload = word & 0xfffff,
		.header = d[13],
		.mss = (uint16_t)load_le(d + 14, 2),
		.tcp = word & TUCMD_TCP,
		.ip = word & TUCMD_IP,
		.segment = word & TUCMD_TSE,
	};

	/* One for segmentation and one for the rest are kept (3.3.6). */
	if (c.segment)
		s->segment = c;
	else
		s->context = c;
}

static void take_data(struct e1000 *s, const uint8_t *d, uint32_t word)
{
	uint32_t len = word & (word & TX_DEXT ? 0xfffff : 0xffff),
		 room = (uint32_t)sizeof(s->tx) - s->tx_len;
	uint64_t addr = load_le(d, 8);

	if (!s->tx_len) {
		s->tx_extended = word & TX_DEXT;
		s->popts = word & TX_DEXT ? d[13] : 0;
		/* Whether it is segmented is the first descriptor's TSE. */
		s->segment.segment = word & TX_DEXT && word & TUCMD_TSE;
	}
	if (len > room) {
		log_guest(s, "a frame of more than %zu bytes is cut", sizeof(s->tx));
		len = room;
	}
	if (!dma_read(s, addr, s->tx + s->tx_len, len))
		log_guest(s, "a transmit buffer where there is no memory");
	s->tx_len += len;
	if (word & TX_VLE && REG(s, CTRL) & CTRL_VME) {
		s->tx_vlan = true;
		s->tx_tag = (uint16_t)load_le(d + 14, 2);
	}
	if (!(word & TX_EOP))
		return;
	/* Legacy descriptors have a checksum of their own. */
	if (!(word & TX_DEXT) && word & TX_IC)
		insert_checksum(s->tx, s->tx_len, d[13], d[10], 0);
	send_frame(s);
}

static uint64_t ring(const struct e1000 *s, unsigned low)
{
	return (REG(s, low) & ~15u) | (uint64_t)REG(s, low + 4) << 32;
}

static void send_all(struct e1000 *s)
{
	uint32_t n = REG(s, TDLEN) / DESC_BYTES, cause = 0, done = 0;

	if (!(REG(s, TCTL) & TCTL_EN) || !n)
		return;
	while (REG(s, TDH) != REG(s, TDT) && done++ < n) {
		uint64_t at = ring(s, TDBAL) + (uint64_t)REG(s, TDH) * DESC_BYTES;
		uint8_t d[DESC_BYTES];
		uint32_t word;

		if (REG(s, TDH) >= n || !dma_read(s, at, d, sizeof(d))) {
			log_guest(s, "a transmit ring where there is no memory");
			REG(s, TDH) = 0;
			break;
		}
		word = (uint32_t)load_le(d + 8, 4);
		if (word & TX_DEXT && TX_TYPE(word) == TX_CONTEXT)
			take_context(s, d, word);
		else
			take_data(s, d, word);
		if (word & TX_RS) {
			uint8_t status = d[12] | TX_DONE;

			dma_write(s, at + 12, &status, 1);
			cause |= INT_TXDW;
		}
		REG(s, TDH) = (REG(s, TDH) + 1) % n;
	}
	raise_cause(s, cause | INT_TXQE);
}

/* Receiving. */

static bool wants(const struct e1000 *s, const uint8_t *f, uint32_t len)
{
	static const uint8_t shifts[] = { 4, 3, 2, 0 };
	uint32_t rctl = REG(s, RCTL);

	if (rctl & RCTL_VFE && be16(f + 12) == (uint16_t)REG(s, VET) && len >= 16) {
		unsigned vlan = be16(f + 14) & 0xfff;

		if (!(REG(s, VFTA + 4 * (vlan >> 5)) >> (vlan & 31) & 1))
			return false;
	}
	if (f[0] & 1 ? rctl & RCTL_MPE : rctl & RCTL_UPE)
		return true;
	if (rctl & RCTL_BAM && !memcmp(f, "\xff\xff\xff\xff\xff\xff", MAC_BYTES))
		return true;
	for (unsigned i = 0; i < 16; i++) {
		uint8_t mac[8];

		store_le(mac, REG(s, RAL + 8 * i), 4);
		store_le(mac + 4, REG(s, RAL + 8 * i + 4), 4);
		if (REG(s, RAL + 8 * i + 4) & RAH_AV && !memcmp(f, mac, MAC_BYTES))
			return true;
	}
	if (f[0] & 1) {
		unsigned hash = (unsigned)(f[4] | f[5] << 8) >> shifts[rctl >> 12 & 3] & 0xfff;

		return REG(s, MTA + 4 * (hash >> 5)) >> (hash & 31) & 1;
	}
	return false;
}

static uint32_t buffer_bytes(const struct e1000 *s)
{
	uint32_t size = 2048u >> (REG(s, RCTL) >> 16 & 3);

	return REG(s, RCTL) & RCTL_BSEX ? 16 * size : size;
}

static uint32_t free_buffers(const struct e1000 *s)
{
	uint32_t n = REG(s, RDLEN) / DESC_BYTES, head = REG(s, RDH), tail = REG(s, RDT);

	if (!n || head >= n || tail >= n)
		return 0;
	return tail >= head ? tail - head : n - head + tail;
}

/* RDMTS: half, a quarter or an eighth of the ring is left. */
static bool is_low(const struct e1000 *s)
{
	return free_buffers(s) <= REG(s, RDLEN) / DESC_BYTES >> (1 + (REG(s, RCTL) >> 8 & 3));
}

/* 3.2.9: bits of the status and of the errors. */
static uint8_t look_at_sums(struct e1000 *s, const uint8_t *f, uint32_t len, uint8_t *errors)
{
	uint32_t wanted = REG(s, RXCSUM) & (RXCSUM_IPOFL | RXCSUM_TUOFL);
	unsigned found = wanted ? net_look_at_sums(f, len) : 0;
	uint8_t status = 0;

	*errors = 0;
	if (found & NET_SUM_IP && wanted & RXCSUM_IPOFL) {
		status |= RX_IPCS;
		*errors |= found & NET_SUM_IP_BAD ? RX_IPE : 0;
	}
	if (found & NET_SUM_L4 && wanted & RXCSUM_TUOFL) {
		status |= RX_TCPCS;
		*errors |= found & NET_SUM_L4_BAD ? RX_TCPE : 0;
	}
	return status ? status : RX_IXSM;
}

static bool put_frame(struct e1000 *s, const uint8_t *f, uint32_t len, uint16_t tag, bool tagged)
{
	uint32_t size = buffer_bytes(s), n = REG(s, RDLEN) / DESC_BYTES, at = 0;
	uint32_t fcs = REG(s, RCTL) & RCTL_SECRC ? 0 : FCS_BYTES, total = len + fcs;
	uint8_t errors, sums = look_at_sums(s, f, len, &errors);

	while (at < total) {
		uint64_t where = ring(s, RDBAL) + (uint64_t)REG(s, RDH) * DESC_BYTES;
		uint32_t part = MIN_OF(size, total - at),
			 data = at < len ? MIN_OF(part, len - at) : 0;
		uint8_t d[DESC_BYTES];

		if (!dma_read(s, where, d, sizeof(d)))
			return false;
		if (load_le(d, 8) && data)
			dma_write(s, load_le(d, 8), f + at, data);
		at += part;
		store_le(d + 8, part, 2);
		store_le(d + 10, 0, 2);
		d[12] = (uint8_t)(RX_DD | sums | (at == total ? RX_EOP : 0) | (tagged ? RX_VP : 0) |
				  (f[0] & 1 ? RX_PIF : 0));
		d[13] = at == total ? errors : 0;
		store_le(d + 14, tag, 2);
		/* The status last, as drivers look at it. */
		dma_write(s, where, d, 12);
		dma_write(s, where + 12, d + 12, 4);
		REG(s, RDH) = (REG(s, RDH) + 1) % n;
	}
	return true;
}

static bool take_frame(void *opaque, const struct iovec *iov, int n)
{
	static uint8_t copy[NET_MOST_FRAME];
	struct e1000 *s = opaque;
	uint32_t len = (uint32_t)iov_bytes(iov, n), needed;
	uint8_t *frame = copy;
	uint16_t tag = 0;
	bool tagged;

	if (!(REG(s, RCTL) & RCTL_EN) || !(REG(s, CTRL) & CTRL_SLU) || s->pci.dev.dma_off)
		return true; /* nobody listens */
	if (!machine_running(s->pci.dev.machine))
		return false;
	if (len > (REG(s, RCTL) & RCTL_LPE ? LONGEST_LPE : LONGEST_FRAME - FCS_BYTES) || len < 14)
		return true;
	iov_to(iov, n, 0, copy, len);
	if (len < SHORTEST_FRAME) {
		memset(copy + len, 0, SHORTEST_FRAME - len);
		len = SHORTEST_FRAME;
	}
	if (!wants(s, frame, len))
		return true;
	tagged = REG(s, CTRL) & CTRL_VME && be16(frame + 12) == (uint16_t)REG(s, VET);
	if (tagged) {
		tag = be16(frame + 14);
		memmove(frame + 4, frame, 12);
		frame += 4;
		len -= 4;
	}
	needed = (len + FCS_BYTES + buffer_bytes(s) - 1) / buffer_bytes(s);
	if (free_buffers(s) < needed) {
		raise_cause(s, INT_RXO);
		return false; /* it waits before us */
	}
	count(s, GPRC, 1);
	count(s, TPR, 1);
	count_bytes(s, GORCL, len + FCS_BYTES);
	count_bytes(s, TORL, len + FCS_BYTES);
	if (frame[0] & 1)
		count(s, frame[0] == 0xff ? BPRC : MPRC, 1);
	if (!put_frame(s, frame, len, tag, tagged))
		log_guest(s, "a receive ring where there is no memory");
	raise_cause(s, INT_RXT0 | (is_low(s) ? INT_RXDMT0 : 0));
	return true;
}

/* Registers. */

static void put_address(struct e1000 *s)
{
	REG(s, RAL) = (uint32_t)load_le(s->mac, 4);
	REG(s, RAL + 4) = (uint32_t)load_le(s->mac + 4, 2) | RAH_AV;
}

static void reset_registers(struct e1000 *s)
{
	memset(s->regs, 0, sizeof(s->regs));
	REG(s, CTRL) = BIT(0) | BIT(9) | BIT(20); /* full duplex, 1000 Mb/s, D3 wake-up */
	REG(s, PBA) = 0x00100030;
	REG(s, VET) = 0x8100;
	REG(s, 0x0e00) = 0x07068302; /* LEDs */
	REG(s, 0x5820) = 0;
	put_address(s);
	reset_phy(s);
	s->eecd = s->shifted = 0;
	s->bits_in = s->bits_out = 0;
	s->tx_len = 0;
	s->tx_vlan = s->tx_extended = false;
	timer_cancel(&s->throttle);
}

static uint64_t memory_read(void *opaque, uint64_t off, unsigned size)
{
	struct e1000 *s = opaque;
	uint32_t v;

	(void)size;
	switch (off) {
	case STATUS:
		return read_status(s);
	case ICR:
		return read_icr(s);
	case EECD:
		return read_eecd(s);
	case ICS:
	case IMC:
		return 0;
	}
	v = REG(s, off);
	/* Statistics are cleared by reading. */
	if (off >= STATS && off < STATS_END)
		REG(s, off) = 0;
	return v;
}

static void control(struct e1000 *s, uint32_t v)
{
	bool was = REG(s, CTRL) & CTRL_SLU;

	if (v & CTRL_RST) {
		reset_registers(s);
		update_line(s);
		return;
	}
	REG(s, CTRL) = v;
	if (v & CTRL_SLU && !was)
		raise_cause(s, INT_LSC);
}

static void memory_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
	struct e1000 *s = opaque;
	uint32_t v = (uint32_t)value;

	(void)size;
	switch (off) {
	case CTRL:
		control(s, v);
		break;
	case STATUS:
		break;
	case EECD:
		eeprom_pins(s, v);
		break;
	case EERD:
		read_word(s, v);
		break;
	case MDIC:
		mdic(s, v);
		break;
	case ICR:
		REG(s, ICR) &= ~v;
		update_line(s);
		break;
	case ICS:
		raise_cause(s, v & ~INT_ASSERTED);
		break;
	case IMS:
		REG(s, IMS) |= v;
		update_line(s);
		break;
	case IMC:
		REG(s, IMS) &= ~v;
		update_line(s);
		break;
	case RCTL:
		REG(s, RCTL) = v;
		if (v & RCTL_EN)
			net_ready(s->port);
		break;
	case RDT:
		REG(s, RDT) = v & 0xffff;
		net_ready(s->port);
		break;
	case RDH:
	case TDH:
		REG(s, off) = v & 0xffff;
		break;
	case RDLEN:
	case TDLEN:
		REG(s, off) = v & 0xfff80;
		break;
	case TCTL:
		REG(s, TCTL) = v;
		send_all(s);
		break;
	case TDT:
		REG(s, TDT) = v & 0xffff;
		send_all(s);
		break;
	default:
		if (off < STATS || off >= STATS_END)
			REG(s, off) = v;
	}
}

/* 13.3: an address register and a data register. */
static uint64_t io_read(void *opaque, uint64_t off, unsigned size)
{
	struct e1000 *s = opaque;

	if (off == 0)
		return s->io_address;
	return off == 4 && s->io_address < MEMORY_BYTES ? memory_read(s, s->io_address & ~3u, size)
							: 0;
}

static void io_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
	struct e1000 *s = opaque;

	if (off == 0)
		s->io_address = (uint32_t)value;
	else if (off == 4 && s->io_address < MEMORY_BYTES)
		memory_write(s, s->io_address & ~3u, value, size);
}

static void link_changed(void *opaque)
{
	raise_cause(opaque, INT_LSC);
}

static const struct net_ops card_ops = { .take = take_frame, .link_changed = link_changed };

#define D struct context
FIELD_TABLE(e1000_context_table, NULL, F(ipcss), F(ipcso), F(tucss), F(tucso), F(header), F(ipcse),
	    F(tucse), F(mss), F(payload), F(tcp), F(ip), F(segment));
#undef D
#define D struct e1000

static bool e1000_realize(void *dev, GError **err)
{
	static const struct region_ops memory_ops = { memory_read, memory_write, 4, 4 },
				       io_ops = { io_read, io_write, 4, 4 };
	static unsigned cards;
	struct e1000 *s = dev;
	const char *id = s->pci.dev.id;
	g_autofree char *name = NULL;

	s->number = cards++;
	name = id ? g_strdup(id) : g_strdup_printf("e1000.%u", s->number);
	if (s->mac_text && !net_parse_mac(s->mac_text, s->mac, err)) {
		g_prefix_error(err, "%s: mac: ", device_name(dev));
		return false;
	}
	if (!s->mac_text)
		net_default_mac(s->pci.dev.machine, s->number, s->mac);
	s->port = net_card_new(s->pci.dev.machine, name, s->netdev, &card_ops, s, err);
	if (!s->port)
		return false;
	timer_init(&s->throttle, vm_clock(s->pci.dev.machine), "e1000-throttle", throttle_over, s);
	fill_eeprom(s);
	region_init_io(&s->memory, "e1000-mmio", MEMORY_BYTES, &memory_ops, s, dev);
	region_init_io(&s->io, "e1000-io", IO_BYTES, &io_ops, s, dev);
	pci_add_bar(s, 0, &s->memory, false, false, false);
	pci_add_bar(s, 1, &s->io, true, false, false);
	return true;
}

static void e1000_unrealize(void *dev)
{
	struct e1000 *s = dev;

	timer_cancel(&s->throttle);
	net_card_free(s->port);
	region_destroy(&s->memory);
	region_destroy(&s->io);
}

static void e1000_reset(void *dev)
{
	struct e1000 *s = dev;

	reset_registers(s);
	s->io_address = 0;
	s->popts = 0;
	s->tx_tag = s->out = 0;
	memset(&s->context, 0, sizeof(s->context));
	memset(&s->segment, 0, sizeof(s->segment));
}

static bool e1000_loaded(void *dev, GError **err)
{
	struct e1000 *s = dev;

	if (s->tx_len > sizeof(s->tx) || s->bits_out > 17 || s->bits_in > 3 + EEPROM_ADDRESS_BITS)
		return error(err, "saved state: '%s': the frame in the making makes no sense",
			     s->pci.dev.path);
	return true;
}

static void e1000_run_changed(void *dev, bool running)
{
	if (running)
		net_ready(((struct e1000 *)dev)->port);
}

static const struct pci_info e1000_pci = {
	.vendor = 0x8086, .device = 0x100e, .class = 0x0200, .revision = 3, .interrupt_pin = 1
};

DEVICE(e1000,
	.name = "e1000",
	.desc = "Intel 82540EM network card",
	.bus = "PCI",
	.bus_info = &e1000_pci,
	.props = FIELDS(F(netdev, .help = "the network's id"),
			{ .name = "mac", .type = FT_STR, .offset = offsetof(D, mac_text),
			  .size = sizeof(char *), .help = "the card's address" }),
	.state = FIELDS(FO(pci, pci_device_table), F(regs), F(phy), F(eeprom), F(io_address), F(eecd),
			F(shifted), F(out), F(bits_in), F(bits_out), FO(context, e1000_context_table),
			FO(segment, e1000_context_table), F(popts), F(tx_extended), F(tx_vlan), F(tx_tag),
			F(tx_len), F(tx), F(throttle)),
	.host = HOST(memory, io, port, mac, number, mac_text),
	.realize = e1000_realize,
	.unrealize = e1000_unrealize,
	.reset = e1000_reset,
	.loaded = e1000_loaded,
	.run_changed = e1000_run_changed);

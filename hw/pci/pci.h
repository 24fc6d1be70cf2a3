/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI: configuration space with per-bit write masks, BARs that are sized and moved at run time,
 * INTx with the bridge's swizzle, MSI and MSI-X. Source: PCI Local Bus Specification 3.0.
 *
 * A PCI device's struct begins with struct pci_device; its struct device_info.bus_info is a struct
 * pci_info.
 */
#pragma once

#include "accel/accel.h"
#include "core/device.h"

#define PCI_CONFIG_SIZE 256
#define PCI_SLOTS 32
#define PCI_FUNCTIONS 8
#define PCI_BARS 6
#define PCI_PINS 4

#define PCI_VENDOR_ID 0x00
#define PCI_DEVICE_ID 0x02
#define PCI_COMMAND 0x04
#define PCI_COMMAND_IO BIT(0)
#define PCI_COMMAND_MEMORY BIT(1)
#define PCI_COMMAND_MASTER BIT(2)
#define PCI_COMMAND_INTX_DISABLE BIT(10)
#define PCI_STATUS 0x06
#define PCI_STATUS_INTERRUPT BIT(3)
#define PCI_STATUS_CAP_LIST BIT(4)
#define PCI_REVISION 0x08
#define PCI_CLASS_PROG 0x09
#define PCI_CLASS_DEVICE 0x0a
#define PCI_CACHE_LINE_SIZE 0x0c
#define PCI_HEADER_TYPE 0x0e
#define PCI_BAR0 0x10
#define PCI_SUBSYSTEM_VENDOR 0x2c
#define PCI_SUBSYSTEM_ID 0x2e
#define PCI_ROM 0x30
#define PCI_CAPABILITIES 0x34
#define PCI_INTERRUPT_LINE 0x3c
#define PCI_INTERRUPT_PIN 0x3d

struct pci_info {
	uint16_t vendor, device;
	uint16_t class; /* base class and subclass */
	uint8_t prog_if, revision;
	uint16_t subsystem_vendor, subsystem; /* 0: QEMU's 1af4:1100 */
	uint8_t interrupt_pin;		      /* 1 to 4, 0: none */
	/* Before the core reads config space, so that the device can bring it up to date. */
	void (*config_reading)(void *dev, unsigned offset, unsigned size);
	/* After the core has stored a write to config space. */
	void (*config_written)(void *dev, unsigned offset, unsigned size);
};

struct pci_bar {
	struct region *region; /* NULL: no such BAR */
	bool io, prefetch, is_64;
	uint64_t addr; /* where it is mapped */
	bool mapped;
};

struct pci_msix {
	struct region region; /* table and pending bits */
	struct region *bar;
	unsigned vectors, cap;
	uint32_t table_off, pba_off, from;
};

#define MSIX_MOST_VECTORS 64

/* A vector that the engine sends when its eventfd is written to. */
struct pci_irqfd {
	int fd;	    /* -1: none yet; for the device's life */
	int handle; /* the engine's, -1: not now */
	struct msi_message msg;
};

struct pci_device {
	struct device dev;
	struct pci_bus *bus;
	uint8_t devfn;
	bool multifunction;

	uint8_t config[PCI_CONFIG_SIZE];
	uint8_t writable[PCI_CONFIG_SIZE];    /* bits the guest may change */
	uint8_t write_clear[PCI_CONFIG_SIZE]; /* bits that writing 1 clears */
	struct pci_bar bars[PCI_BARS];
	uint8_t next_cap;
	bool intx_level;

	unsigned msi_cap, msi_vectors;
	struct pci_msix msix;
	uint32_t msix_table[MSIX_MOST_VECTORS * 4];
	uint64_t msix_pending;
	struct pci_irqfd *irqfds; /* one a vector; NULL: not used */
	uint64_t irqfds_live;	  /* vectors that have a handle; atomic */
};
extern const struct field_table pci_device_table;
/* The property every PCI device has: addr=SLOT or SLOT.FUNCTION. */

struct pci_bus {
	struct bus bus;
	struct machine *machine;
	struct pci_device *devices[PCI_SLOTS * PCI_FUNCTIONS];
	/* Board: line 0 to 3 of the host bridge after the swizzle. */
	void (*set_intx)(void *opaque, unsigned line, int level);
	void *intx_opaque;
	uint8_t intx_count[PCI_PINS]; /* devices that pull the line */
};

void pci_bus_init(struct pci_bus *b, struct machine *m, struct device *owner, const char *name);
void pci_bus_destroy(struct pci_bus *b);
/* Config space by mechanism 1's address; all-ones where nobody answers. */
uint32_t pci_config_read(struct pci_bus *b, uint8_t devfn, unsigned off, unsigned size);
void pci_config_write(struct pci_bus *b, uint8_t devfn, unsigned off, uint32_t value,
		      unsigned size);

/* For devices, in realize. */
void pci_set_devfn(void *dev, unsigned slot, unsigned function);
void pci_add_bar(void *dev, unsigned n, struct region *region, bool io, bool prefetch, bool is_64);
/* Reserves `size` bytes of capability and links them; returns the offset. */
unsigned pci_add_capability(void *dev, uint8_t id, unsigned size);
void pci_add_msi(void *dev, unsigned vectors);
/* `bar` is a group; from the page of the lower of the offsets on it is the vectors' alone. */
void pci_add_msix(void *dev, unsigned vectors, struct region *bar, uint32_t table_off,
		  uint32_t pba_off);

/* At run time. */
void pci_set_irq(void *dev, int level);
bool pci_msi_enabled(const struct pci_device *d);
bool pci_msix_enabled(const struct pci_device *d);
/* Sends or, when masked, makes pending. */
void pci_msi_notify(void *dev, unsigned vector);
void pci_msix_notify(void *dev, unsigned vector);
/* For realize, after pci_add_msix: vectors go by irqfd where the engine can. */
void pci_use_irqfds(void *dev);
/* Raises a vector; any thread, no lock. False: not now, pci_msix_notify does what is to be done. */
bool pci_irqfd_signal(void *dev, unsigned vector);

/* Puts BARs where config space says; hosts call it at load. */
void pci_update_bars(struct pci_device *d);
void pci_print_bus(struct pci_bus *b, GString *out);

/* Where firmware finds the function, to be freed: /pci@i0cf8/NAME@SLOT,FUNCTION and what follows.
 */
char *pci_boot_path(const void *dev, const char *name, const char *fmt, ...) PRINTF_LIKE(3, 4);

static inline uint16_t pci_word(const struct pci_device *d, unsigned off)
{
	return (uint16_t)load_le(d->config + off, 2);
}
static inline void pci_set_word(struct pci_device *d, unsigned off, uint16_t v)
{
	store_le(d->config + off, v, 2);
}

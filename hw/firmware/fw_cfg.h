/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The firmware configuration device: named blobs that firmware reads through ports 510h and 511h or
 * by DMA at 514h. Source: the device's specification as published with it.
 */
#pragma once

#include "core/device.h"

#define FW_CFG_SIGNATURE 0x00
#define FW_CFG_ID 0x01
#define FW_CFG_UUID 0x02
#define FW_CFG_RAM_SIZE 0x03
#define FW_CFG_NOGRAPHIC 0x04
#define FW_CFG_NB_CPUS 0x05
/* A kernel for firmware to boot: where its parts are to go, and the parts. */
#define FW_CFG_KERNEL_ADDR 0x07
#define FW_CFG_KERNEL_SIZE 0x08
#define FW_CFG_INITRD_ADDR 0x0a
#define FW_CFG_INITRD_SIZE 0x0b
#define FW_CFG_BOOT_MENU 0x0e
#define FW_CFG_MAX_CPUS 0x0f
#define FW_CFG_KERNEL_DATA 0x11
#define FW_CFG_INITRD_DATA 0x12
#define FW_CFG_CMDLINE_ADDR 0x13
#define FW_CFG_CMDLINE_SIZE 0x14
#define FW_CFG_CMDLINE_DATA 0x15
#define FW_CFG_SETUP_ADDR 0x16
#define FW_CFG_SETUP_SIZE 0x17
#define FW_CFG_SETUP_DATA 0x18
#define FW_CFG_FILE_DIR 0x19
#define FW_CFG_FILE_FIRST 0x20
#define FW_CFG_ARCH 0x8000
#define FW_CFG_IRQ0_OVERRIDE (FW_CFG_ARCH + 2)
#define FW_CFG_FILES 64

struct fw_cfg_item {
	uint8_t *data;
	size_t len;
	/* Called when the guest selects the item: may replace the data by fw_cfg_set_file. */
	void (*selected)(void *opaque);
	void *opaque;
	char name[56];
};

struct fw_cfg {
	struct device dev;
	uint16_t current;
	uint32_t offset;
	uint64_t dma_address;

	struct fw_cfg_item items[FW_CFG_FILE_FIRST + FW_CFG_FILES];
	struct fw_cfg_item arch[8];
	unsigned files;
};

/* A file of the user's (-fw_cfg). */
struct fw_cfg_blob {
	char *name;
	uint8_t *data;
	size_t len;
};
void fw_cfg_blob_free(void *blob);

struct fw_cfg *fw_cfg_new(struct machine *m, GError **err);
/* Data is copied. */
void fw_cfg_add(struct fw_cfg *f, uint16_t key, const void *data, size_t len);
void fw_cfg_add_u16(struct fw_cfg *f, uint16_t key, uint16_t v);
void fw_cfg_add_u32(struct fw_cfg *f, uint16_t key, uint32_t v);
void fw_cfg_add_u64(struct fw_cfg *f, uint16_t key, uint64_t v);
/* Adds or replaces the file; new ones only before the guest runs. */
void fw_cfg_set_file(struct fw_cfg *f, const char *name, const void *data, size_t len);
/* Refuses a name that is taken, empty or too long, and one file too many. */
bool fw_cfg_add_blob(struct fw_cfg *f, const struct fw_cfg_blob *b, GError **err);
void fw_cfg_on_select(struct fw_cfg *f, const char *name, void (*selected)(void *opaque),
		      void *opaque);

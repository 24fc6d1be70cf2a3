# SPDX-License-Identifier: GPL-2.0-or-later
# Included by the build directory's Makefile, which configure writes. Sources are listed by folder; an
# object is built as <folder>/<file>.o in the build directory.

ifndef SRC
# In the source tree: hand over to the default build directory.
all check install clean check-long:
	@test -f build/Makefile || ./configure
	@$(MAKE) -C build $@
.PHONY: all check install clean check-long
else

.DEFAULT_GOAL := all
VPATH := $(SRC)
CFLAGS ?= -g
# make V=1 shows whole commands.
Q := $(if $(V),,@)
WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla \
	-Wno-missing-field-initializers
ALL_CFLAGS := -std=gnu17 -D_GNU_SOURCE $(WARN) -g $(CFLAGS_CONF) $(CFLAGS) -fno-strict-aliasing -pthread \
	-I. -I$(SRC) $(DEPS_CFLAGS)
LDLIBS := -Wl,--as-needed $(DEPS_LIBS) -lutil -lm

core := access.c clock.c device.c error.c field.c iothread.c iov.c library.c lock.c log.c loop.c machine.c memory.c options.c ram.c state.c thread.c
cpu := cpu.c
cpu/x86 := cpu.c disassembler.c features.c models.c pages.c
accel := accel.c vcpu.c
accel/tcg := cache.c count.c debug.c engine.c exec.c fpu.c helper.c inspect.c mmu.c msr.c prefault.c privileged.c pvclock.c run.c segment.c smm.c task.c tlb.c v86.c vector.c world.c
accel/tcg/frontend/x86 := block.c decode.c flags.c flow.c group.c operand.c rounds.c stack.c table.c translate.c
accel/kvm := caps.c chips.c clock.c kvm.c slots.c state_x86.c vcpu.c
chardev := chardev.c fd.c local.c socket.c
block := block.c cow.c drive.c file.c fingerprint.c formats.c nbd.c qcow2.c qcow2_check.c qcow2_map.c qcow2_refcount.c qcow2_snapshot.c raw.c throttle.c uring.c
hw/intc := i8259.c ioapic.c lapic.c lines.c
hw/timer := hpet.c i8254.c kvmclock.c mc146818.c
hw/pci := pci.c i440fx.c piix3.c
hw/isa := isa.c
hw/acpi := piix4_pm.c tables.c
hw/firmware := direct.c elf.c fw_cfg.c linux.c loader.c smbios.c
hw/char := debugcon.c ns16550.c virtio_serial.c
hw/input := i8042.c ps2.c
hw/misc := a20.c debugexit.c pc_testdev.c pci_testdev.c port80.c port92.c pvpanic.c
hw/block := fdc.c nvme.c nvme_admin.c pflash.c virtio_blk.c
net := gro.c hub.c net.c offload.c packet.c pcap.c socket.c stream.c tap.c user.c vde.c
fs := folder.c p9.c
hw/net := e1000.c virtio_net.c
hw/scsi := mmc.c scsi_bus.c scsi_disk.c virtio_scsi.c
hw/ide := ahci.c ata.c atapi.c ide_bus.c identify.c piix_ide.c
hw/virtio := virtio.c virtio_9p.c virtio_balloon.c virtio_rng.c virtqueue.c
hw/dma := i8237.c
hw/board := pc.c pc_i440fx.c
monitor := backends.c commands.c hmp.c info.c memory.c monitor.c qmp.c
monitor/gdbstub := gdbstub.c x86.c

FOLDERS := core cpu cpu/x86 accel accel/tcg accel/tcg/frontend/x86 accel/kvm chardev block hw/intc hw/timer hw/pci hw/isa hw/acpi hw/firmware hw/char \
	hw/input net fs hw/misc hw/virtio hw/net hw/scsi hw/ide hw/block hw/dma hw/board monitor monitor/gdbstub
LIB_SRCS := $(foreach f,$(FOLDERS),$(addprefix $(f)/,$($(f))))
DEVICE_SRCS := $(filter hw/% cpu/%,$(LIB_SRCS))
LIB_OBJS := $(LIB_SRCS:.c=.o) accel/tcg/host/thunks.o devices.o plain.o
FRONTEND_OBJS := $(addprefix accel/tcg/frontend/x86/,$(accel/tcg/frontend/x86:.c=.o))
CMD_OBJS := cmd/moa/main.o cmd/moa/cmdline.o cmd/moa/drives.o cmd/moa/nets.o cmd/moa/objects.o
IMG_OBJS := cmd/moa-img/change.o cmd/moa-img/look.o cmd/moa-img/main.o cmd/moa-img/nbd.o

include $(SRC)/tests/Makefile.inc

# The host's compiler may not find generated headers before they are made.
GENERATED := gen/dsdt.h gen/linuxboot.h

all: moa moa-img fields.ok

moa: $(CMD_OBJS) libmoa.a
	$(Q)echo '  LINK ' $@
	$(Q)$(CC) $(LDFLAGS_CONF) $(LDFLAGS) -pthread -o $@ $(CMD_OBJS) libmoa.a $(LDLIBS)

moa-img: $(IMG_OBJS) libmoa.a
	$(Q)echo '  LINK ' $@
	$(Q)$(CC) $(LDFLAGS_CONF) $(LDFLAGS) -pthread -o $@ $(IMG_OBJS) libmoa.a $(LDLIBS)

libmoa.a: $(LIB_OBJS)
	@rm -f $@
	$(Q)$(AR) rcs $@ $^

# Keeps the compiler from making a loop a call of memset or memcpy, which use vector registers.
NO_LOOP_CALLS := $(shell $(CC) -Werror -fno-tree-loop-distribute-patterns -x c -c /dev/null -o /dev/null 2>/dev/null && \
	echo -fno-tree-loop-distribute-patterns || echo -fno-builtin)
# GCC clears structures of a few hundred bytes by REP STOS, which takes longer than all the rest of a translation's step.
NO_REP_STOS := $(shell o=-mmemset-strategy=unrolled_loop:512:noalign,libcall:-1:noalign; \
	$(CC) -Werror $$o -x c -c /dev/null -o /dev/null 2>/dev/null && echo $$o)
# They run while the guest's vector registers are in the host's (accel/tcg/tcg.h).
GENERAL_REGS := -mgeneral-regs-only $(NO_LOOP_CALLS) $(NO_REP_STOS)
# So does the front end if nothing in it calls what uses them: GCC copies small things itself. Else they are saved around it.
PLAIN_FRONTEND := $(filter -fno-tree-loop-distribute-patterns,$(NO_LOOP_CALLS))
$(FRONTEND_OBJS): CFLAGS_FILE := $(if $(PLAIN_FRONTEND),$(GENERAL_REGS))
plain.c: $(FRONTEND_OBJS)
	$(Q)plain=false; if nm $^ >plain.txt && ! grep -qE ' U (mem|str|bcmp|__asan|__tsan)' plain.txt; then \
		plain=$(if $(PLAIN_FRONTEND),true,false); fi; \
	printf '#include "accel/tcg/tcg.h"\nconst bool tcg_frontend_is_plain = %s;\n' $$plain >$@
$(addprefix accel/tcg/,cache.o debug.o exec.o fpu.o helper.o mmu.o msr.o prefault.o privileged.o run.o segment.o task.o tlb.o v86.o vector.o world.o): CFLAGS_FILE := $(GENERAL_REGS)

%.o: %.S | dirs
	$(Q)echo '  AS   ' $@
	$(Q)$(CC) -c -o $@ $<

%.o: %.c config.h $(GENERATED) | dirs
	$(Q)echo '  CC   ' $@
	$(Q)$(CC) $(ALL_CFLAGS) $(CFLAGS_FILE) -MMD -MP -c -o $@ $<

devices.o: devices.c
devices.c: $(DEVICE_SRCS) $(SRC)/scripts/gen-registry
	$(Q)$(SRC)/scripts/gen-registry $(addprefix $(SRC)/,$(DEVICE_SRCS)) >$@

gen/dsdt.h: hw/acpi/dsdt.asl | dirs
	$(Q)iasl -vs -oa -p gen/dsdt $< >gen/dsdt.log 2>&1 || { cat gen/dsdt.log; exit 1; }
	$(Q)$(SRC)/scripts/bin-to-header dsdt_aml <gen/dsdt.aml >$@

gen/linuxboot.h: pc-bios/linuxboot.S $(SRC)/scripts/option-rom $(SRC)/scripts/bin-to-header | dirs
	$(Q)$(CC) -m32 -c -o gen/linuxboot.o $<
	$(Q)$(LD) -m elf_i386 -Ttext 0 -e 0 --oformat binary -o gen/linuxboot.bin gen/linuxboot.o
	$(Q)$(SRC)/scripts/option-rom <gen/linuxboot.bin >gen/linuxboot.rom
	$(Q)$(SRC)/scripts/bin-to-header linuxboot_rom <gen/linuxboot.rom >$@

# Every member of a device's struct is saved, a property, or named as the host's.
list-fields: scripts/list-fields.o libmoa.a
	$(Q)echo '  LINK ' $@
	$(Q)$(CC) $(LDFLAGS_CONF) $(LDFLAGS) -pthread -o $@ $< libmoa.a $(LDLIBS)
fields.ok: list-fields moa $(SRC)/scripts/check-fields
	$(Q)./list-fields >fields.txt
	$(Q)$(SRC)/scripts/check-fields fields.txt moa
	@touch $@

dirs:
	@mkdir -p $(FOLDERS) accel/tcg/host cmd/moa cmd/moa-img scripts gen $(TEST_DIRS)

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/moa $(DESTDIR)$(PREFIX)/share/doc/moa
	install -m 755 moa moa-img $(DESTDIR)$(PREFIX)/bin/
	install -m 644 $(SRC)/pc-bios/README.md $(DESTDIR)$(PREFIX)/share/moa/README.md
	install -m 644 $(SRC)/README.md $(SRC)/LICENSE $(SRC)/docs/*.md $(DESTDIR)$(PREFIX)/share/doc/moa/

clean:
	rm -rf $(FOLDERS) cmd scripts gen tests hw libmoa.a moa moa-img devices.c devices.o list-fields fields.txt fields.ok plain.txt plain.c plain.o

.PHONY: all install clean dirs check check-long
.DELETE_ON_ERROR:
-include $(shell find . -path ./guest-packages -prune -o -type f -name '*.d' -print 2>/dev/null)
endif

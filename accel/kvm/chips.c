/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * KVM's in-kernel PIC, IOAPIC, local APICs and PIT: making them, wires and messages, and their
 * state as accel/chips.h has it. The GSI routing table is kept whole here, as every
 * KVM_SET_GSI_ROUTING replaces it: GSI 0-15 go to PIC and IOAPIC (GSI 0 to IOAPIC pin 2), 16-23 to
 * the IOAPIC, the rest are messages.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "accel/kvm/kvm.h"

#define FIRST_MSI_GSI IOAPIC_PINS

static void send_routes(struct kvm *k)
{
	size_t size = sizeof(struct kvm_irq_routing) +
		      k->routes->len * sizeof(struct kvm_irq_routing_entry);
	g_autofree struct kvm_irq_routing *table = g_malloc0(size);

	table->nr = k->routes->len;
	memcpy(table->entries, k->routes->data,
	       k->routes->len * sizeof(struct kvm_irq_routing_entry));
	kvm_must(k->vm, KVM_SET_GSI_ROUTING, table);
}

static void add_chip_route(struct kvm *k, unsigned gsi, unsigned chip, unsigned pin)
{
	struct kvm_irq_routing_entry e;

	memset(&e, 0, sizeof(e));
	e.gsi = gsi;
	e.type = KVM_IRQ_ROUTING_IRQCHIP;
	e.u.irqchip.irqchip = chip;
	e.u.irqchip.pin = pin;
	g_array_append_val(k->routes, e);
}

static void fill_msi(struct kvm_irq_routing_entry *e, unsigned gsi, const struct msi_message *msg)
{
	memset(e, 0, sizeof(*e));
	e->gsi = gsi;
	e->type = KVM_IRQ_ROUTING_MSI;
	e->u.msi.address_lo = (uint32_t)msg->address;
	e->u.msi.address_hi = (uint32_t)(msg->address >> 32);
	e->u.msi.data = msg->data;
}

static void default_routes(struct kvm *k)
{
	for (unsigned gsi = 0; gsi < 16; gsi++) {
		if (gsi != 2) /* the cascade */
			add_chip_route(k, gsi,
				       gsi < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE,
				       gsi % 8);
		if (gsi != 2)
			add_chip_route(k, gsi, KVM_IRQCHIP_IOAPIC, gsi == 0 ? 2 : gsi);
	}
	for (unsigned gsi = 16; gsi < IOAPIC_PINS; gsi++)
		add_chip_route(k, gsi, KVM_IRQCHIP_IOAPIC, gsi);
	send_routes(k);
}

static bool init_kernel(struct kvm *k, GError **err)
{
	struct kvm_pit_config pit;

	if (!k->caps[CAP_PIT2] || !k->caps[CAP_PIT_STATE2] || !k->caps[CAP_IRQ_ROUTING] ||
	    !k->caps[CAP_SIGNAL_MSI])
		return error(err, "kvm: this kernel's irqchip lacks a part (see `info kvm`): use "
				  "-machine kernel-irqchip=off");
	if (ioctl(k->vm, KVM_CREATE_IRQCHIP, 0) < 0)
		return error(err, "kvm: KVM_CREATE_IRQCHIP failed: %s", strerror(errno));
	default_routes(k);
	if (k->accel->config.no_pit)
		return true;
	memset(&pit, 0, sizeof(pit));
	pit.flags = KVM_PIT_SPEAKER_DUMMY;
	if (ioctl(k->vm, KVM_CREATE_PIT2, &pit) < 0)
		return error(err, "kvm: KVM_CREATE_PIT2 failed: %s", strerror(errno));
	return true;
}

static bool init_split(struct kvm *k, GError **err)
{
	struct kvm_enable_cap cap;

	if (!k->caps[CAP_SPLIT_IRQCHIP])
		return error(err,
			     "kvm: this kernel has no split irqchip: use kernel-irqchip=on or off");
	memset(&cap, 0, sizeof(cap));
	cap.cap = KVM_CAP_SPLIT_IRQCHIP;
	cap.args[0] = IOAPIC_PINS;
	if (ioctl(k->vm, KVM_ENABLE_CAP, &cap) < 0)
		return error(err, "kvm: the split irqchip cannot be enabled: %s", strerror(errno));
	for (unsigned gsi = 0; gsi < IOAPIC_PINS; gsi++) {
		struct kvm_irq_routing_entry e;

		fill_msi(&e, gsi, &(struct msi_message) { 0 });
		g_array_append_val(k->routes, e);
	}
	send_routes(k);
	return true;
}

bool kvm_chips_init(struct kvm *k, GError **err)
{
	struct accel_config *c = &k->accel->config;

	k->routes = g_array_new(FALSE, TRUE, sizeof(struct kvm_irq_routing_entry));
	if (!k->caps[CAP_IRQCHIP] && c->irqchip != IRQCHIP_USER) {
		if (c->irqchip_given)
			return error(
				err,
				"kvm: this kernel has no irqchip: use -machine kernel-irqchip=off");
		c->irqchip = IRQCHIP_USER;
	}
	switch (c->irqchip) {
	case IRQCHIP_KERNEL:
		return init_kernel(k, err);
	case IRQCHIP_SPLIT:
		return init_split(k, err);
	case IRQCHIP_USER:
		break;
	}
	return true;
}

bool kvm_pit_reinject(struct accel *a, bool on)
{
	struct kvm_reinject_control c = { .pit_reinject = on };

	return kvm_of(a)->caps[CAP_REINJECT] && ioctl(kvm_of(a)->vm, KVM_REINJECT_CONTROL, &c) == 0;
}

void kvm_set_gsi(struct accel *a, unsigned gsi, int level)
{
	struct kvm_irq_level l = { .irq = gsi, .level = level != 0 };

	kvm_must(kvm_of(a)->vm, KVM_IRQ_LINE, &l);
}

bool kvm_send_msi(struct accel *a, const struct msi_message *msg)
{
	struct kvm_msi m;

	memset(&m, 0, sizeof(m));
	m.address_lo = (uint32_t)msg->address;
	m.address_hi = (uint32_t)(msg->address >> 32);
	m.data = msg->data;
	return ioctl(kvm_of(a)->vm, KVM_SIGNAL_MSI, &m) > 0;
}

void kvm_ioapic_routes(struct accel *a, const struct msi_message *msgs, unsigned n)
{
	struct kvm *k = kvm_of(a);

	pthread_mutex_lock(&k->route_lock);
	for (unsigned i = 0; i < n && i < IOAPIC_PINS; i++)
		fill_msi(&g_array_index(k->routes, struct kvm_irq_routing_entry, i), i, &msgs[i]);
	send_routes(k);
	pthread_mutex_unlock(&k->route_lock);
}

static bool set_irqfd(struct kvm *k, unsigned gsi, int fd, bool add)
{
	struct kvm_irqfd f;

	memset(&f, 0, sizeof(f));
	f.fd = (uint32_t)fd;
	f.gsi = gsi;
	f.flags = add ? 0 : KVM_IRQFD_FLAG_DEASSIGN;
	return ioctl(k->vm, KVM_IRQFD, &f) == 0;
}

int kvm_msi_route_add(struct accel *a, const struct msi_message *msg, int fd)
{
	struct kvm *k = kvm_of(a);
	struct kvm_irq_routing_entry e;
	int gsi = -1;

	if (!accel_kernel_lapic(a) || !k->caps[CAP_IRQFD])
		return -1;
	pthread_mutex_lock(&k->route_lock);
	for (int g = FIRST_MSI_GSI; g < 64 * (int)ARRAY_LEN(k->gsi_used) && gsi < 0; g++)
		if (!(k->gsi_used[g / 64] & BIT64(g % 64)))
			gsi = g;
	if (gsi >= 0) {
		k->gsi_used[gsi / 64] |= BIT64(gsi % 64);
		fill_msi(&e, (unsigned)gsi, msg);
		g_array_append_val(k->routes, e);
		send_routes(k);
	}
	pthread_mutex_unlock(&k->route_lock);
	if (gsi >= 0 && !set_irqfd(k, (unsigned)gsi, fd, true)) {
		kvm_msi_route_del(a, gsi, -1);
		return -1;
	}
	return gsi;
}

static int find_route(struct kvm *k, int gsi)
{
	for (guint i = 0; i < k->routes->len; i++)
		if (g_array_index(k->routes, struct kvm_irq_routing_entry, i).gsi == (uint32_t)gsi)
			return (int)i;
	return -1;
}

void kvm_msi_route_set(struct accel *a, int handle, const struct msi_message *msg)
{
	struct kvm *k = kvm_of(a);
	int i;

	pthread_mutex_lock(&k->route_lock);
	i = find_route(k, handle);
	if (i >= 0) {
		fill_msi(&g_array_index(k->routes, struct kvm_irq_routing_entry, i),
			 (unsigned)handle, msg);
		send_routes(k);
	}
	pthread_mutex_unlock(&k->route_lock);
}

void kvm_msi_route_del(struct accel *a, int handle, int fd)
{
	struct kvm *k = kvm_of(a);
	int i;

	if (fd >= 0)
		set_irqfd(k, (unsigned)handle, fd, false);
	pthread_mutex_lock(&k->route_lock);
	i = find_route(k, handle);
	if (i >= 0) {
		g_array_remove_index(k->routes, (guint)i);
		k->gsi_used[handle / 64] &= ~BIT64(handle % 64);
		send_routes(k);
	}
	pthread_mutex_unlock(&k->route_lock);
}

bool kvm_ioeventfd(struct accel *a, bool pio, uint64_t addr, unsigned size, bool match,
		   uint64_t value, int fd, bool add)
{
	struct kvm *k = kvm_of(a);
	struct kvm_ioeventfd e;

	if (!k->caps[CAP_IOEVENTFD])
		return false;
	memset(&e, 0, sizeof(e));
	e.addr = addr;
	e.len = size;
	e.fd = fd;
	e.datamatch = value;
	e.flags = (pio ? KVM_IOEVENTFD_FLAG_PIO : 0) | (match ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0) |
		  (add ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN);
	return ioctl(k->vm, KVM_IOEVENTFD, &e) == 0;
}

static void pic_from_kvm(struct chip_pic *s, const struct kvm_pic_state *p)
{
	*s = (struct chip_pic) {
		.last_irr = p->last_irr,
		.irr = p->irr,
		.imr = p->imr,
		.isr = p->isr,
		.priority_add = p->priority_add,
		.irq_base = p->irq_base,
		.read_isr = p->read_reg_select,
		.poll = p->poll,
		.special_mask = p->special_mask,
		.init_state = p->init_state,
		.auto_eoi = p->auto_eoi,
		.rotate_on_auto_eoi = p->rotate_on_auto_eoi,
		.special_fully_nested = p->special_fully_nested_mode,
		.init4 = p->init4,
		.elcr = p->elcr,
		.elcr_mask = p->elcr_mask,
	};
}

static void pic_to_kvm(struct kvm_pic_state *p, const struct chip_pic *s)
{
	*p = (struct kvm_pic_state) {
		.last_irr = s->last_irr,
		.irr = s->irr,
		.imr = s->imr,
		.isr = s->isr,
		.priority_add = s->priority_add,
		.irq_base = s->irq_base,
		.read_reg_select = s->read_isr,
		.poll = s->poll,
		.special_mask = s->special_mask,
		.init_state = s->init_state,
		.auto_eoi = s->auto_eoi,
		.rotate_on_auto_eoi = s->rotate_on_auto_eoi,
		.special_fully_nested_mode = s->special_fully_nested,
		.init4 = s->init4,
		.elcr = s->elcr,
		.elcr_mask = s->elcr_mask,
	};
}

static void ioapic_from_kvm(struct chip_ioapic *s, const struct kvm_ioapic_state *p)
{
	s->base = p->base_address;
	s->ioregsel = p->ioregsel;
	s->id = p->id;
	s->irr = p->irr;
	for (int i = 0; i < IOAPIC_PINS; i++)
		s->redirtbl[i] = p->redirtbl[i].bits;
}

static void ioapic_to_kvm(struct kvm_ioapic_state *p, const struct chip_ioapic *s)
{
	p->base_address = s->base;
	p->ioregsel = s->ioregsel;
	p->id = s->id;
	p->irr = s->irr;
	for (int i = 0; i < IOAPIC_PINS; i++)
		p->redirtbl[i].bits = s->redirtbl[i];
}

/*
 * The kernel's PIT counts on the host's clock: count_load_time is its ktime. The difference to now
 * is what carries over to our VM clock.
 */
static void pit_from_kvm(struct kvm *k, struct chip_pit *s, const struct kvm_pit_state2 *p)
{
	int64_t vm_now = clock_ns(vm_clock(k->accel->machine)), host_now = monotonic_ns();

	s->irq_disabled = p->flags & KVM_PIT_FLAGS_HPET_LEGACY;
	for (int i = 0; i < PIT_CHANNELS; i++) {
		const struct kvm_pit_channel_state *c = &p->channels[i];

		s->channels[i] = (struct chip_pit_channel) {
			.count = c->count,
			.latched_count = c->latched_count,
			.count_latched = c->count_latched,
			.status_latched = c->status_latched,
			.status = c->status,
			.read_state = c->read_state,
			.write_state = c->write_state,
			.write_latch = c->write_latch,
			.rw_mode = c->rw_mode,
			.mode = c->mode,
			.bcd = c->bcd,
			.gate = c->gate,
			.load_ns = vm_now - (host_now - c->count_load_time),
			.held_ns = -1,
			.counting = c->count != 0,
		};
	}
}

static void pit_to_kvm(struct kvm *k, struct kvm_pit_state2 *p, const struct chip_pit *s)
{
	int64_t vm_now = clock_ns(vm_clock(k->accel->machine)), host_now = monotonic_ns();

	p->flags = s->irq_disabled ? KVM_PIT_FLAGS_HPET_LEGACY : 0;
	for (int i = 0; i < PIT_CHANNELS; i++) {
		const struct chip_pit_channel *c = &s->channels[i];

		p->channels[i] = (struct kvm_pit_channel_state) {
			.count = c->count,
			.latched_count = c->latched_count,
			.count_latched = c->count_latched,
			.status_latched = c->status_latched,
			.status = c->status,
			.read_state = c->read_state,
			.write_state = c->write_state,
			.write_latch = c->write_latch,
			.rw_mode = c->rw_mode,
			.mode = c->mode,
			.bcd = c->bcd,
			.gate = c->gate,
			.count_load_time = host_now - (vm_now - c->load_ns),
		};
	}
}

struct lapic_job {
	struct kvm_lapic_state state;
	bool put;
};

static void lapic_work(struct vcpu *v, void *arg)
{
	struct lapic_job *job = arg;
	int fd = kvm_vcpu_of(v)->fd;

	if (!job->put) {
		kvm_must(fd, KVM_GET_LAPIC, &job->state);
		return;
	}
	/*
	 * The APIC base's mode says how the page is read, so it goes first; the deadline needs the
	 * LVT.
	 */
	if (v->dirty)
		kvm_vcpu_put(v, v->dirty);
	v->dirty = 0;
	kvm_must(fd, KVM_SET_LAPIC, &job->state);
	kvm_put_tsc_deadline(v);
}

static bool move_lapic(struct accel *a, unsigned index, struct chip_lapic *s, bool put)
{
	struct lapic_job job = { .put = put };

	if (index >= a->vcpus->len)
		return false;
	memcpy(job.state.regs, s->regs, sizeof(s->regs));
	vcpu_run_on(a->vcpus->pdata[index], lapic_work, &job);
	memcpy(s->regs, job.state.regs, sizeof(s->regs));
	return true;
}

bool kvm_chip_get(struct accel *a, enum chip_kind kind, unsigned index, void *state)
{
	struct kvm *k = kvm_of(a);
	struct kvm_irqchip chip;
	struct kvm_pit_state2 pit;

	if (kind == CHIP_LAPIC)
		return move_lapic(a, index, state, false);
	if (kind == CHIP_PIT) {
		memset(&pit, 0, sizeof(pit));
		kvm_must(k->vm, KVM_GET_PIT2, &pit);
		pit_from_kvm(k, state, &pit);
		return true;
	}
	memset(&chip, 0, sizeof(chip));
	chip.chip_id = kind == CHIP_IOAPIC ? KVM_IRQCHIP_IOAPIC : index;
	kvm_must(k->vm, KVM_GET_IRQCHIP, &chip);
	if (kind == CHIP_IOAPIC)
		ioapic_from_kvm(state, &chip.chip.ioapic);
	else
		pic_from_kvm(state, &chip.chip.pic);
	return true;
}

bool kvm_chip_put(struct accel *a, enum chip_kind kind, unsigned index, const void *state)
{
	struct kvm *k = kvm_of(a);
	struct kvm_irqchip chip;
	struct kvm_pit_state2 pit;

	if (kind == CHIP_LAPIC) {
		struct chip_lapic copy = *(const struct chip_lapic *)state;

		return move_lapic(a, index, &copy, true);
	}
	if (kind == CHIP_PIT) {
		memset(&pit, 0, sizeof(pit));
		kvm_must(k->vm, KVM_GET_PIT2, &pit);
		pit_to_kvm(k, &pit, state);
		kvm_must(k->vm, KVM_SET_PIT2, &pit);
		return true;
	}
	memset(&chip, 0, sizeof(chip));
	chip.chip_id = kind == CHIP_IOAPIC ? KVM_IRQCHIP_IOAPIC : index;
	kvm_must(k->vm, KVM_GET_IRQCHIP, &chip);
	if (kind == CHIP_IOAPIC)
		ioapic_to_kvm(&chip.chip.ioapic, state);
	else
		pic_to_kvm(&chip.chip.pic, state);
	kvm_must(k->vm, KVM_SET_IRQCHIP, &chip);
	return true;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The KVM engine: opening it, making the VM, and the table of its operations. */
#include "accel/kvm/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

/*
 * The pages that Intel's hardware needs for real mode: below any firmware, and told to the guest as
 * reserved through e820. KVM wants three for the TSS and one identity map.
 */
#define IDENTITY_MAP_ADDR UINT64_C(0xfeffc000)
#define TSS_ADDR UINT64_C(0xfeffd000)

int kvm_must_named(int fd, unsigned long request, const char *name, uintptr_t arg)
{
	int r = ioctl(fd, request, arg);

	if (r < 0) {
		fprintf(stderr, "moa: kvm: %s failed: %s\n", name, strerror(errno));
		abort();
	}
	return r;
}

static bool open_kvm(struct kvm *k, GError **err)
{
	int version;

	k->fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (k->fd < 0 && errno == EACCES)
		return error(
			err,
			"kvm: no permission for /dev/kvm: add yourself to the group that owns it "
			"(adduser $USER kvm, then log in again)");
	if (k->fd < 0 && errno == ENOENT)
		return error(err, "kvm: there is no /dev/kvm: load kvm_intel or kvm_amd and turn "
				  "virtualisation on "
				  "in the firmware's setup");
	if (k->fd < 0)
		return error(err, "kvm: cannot open /dev/kvm: %s", strerror(errno));
	version = ioctl(k->fd, KVM_GET_API_VERSION, 0);
	if (version != KVM_API_VERSION)
		return error(
			err,
			"kvm: /dev/kvm speaks API version %d, moa needs %d: use a newer kernel",
			version, KVM_API_VERSION);
	return true;
}

static bool make_vm(struct kvm *k, GError **err)
{
	uint64_t identity = IDENTITY_MAP_ADDR;

	do
		k->vm = ioctl(k->fd, KVM_CREATE_VM, 0);
	while (k->vm < 0 && errno == EINTR);
	if (k->vm < 0)
		return error(err, "kvm: the host cannot make a VM: %s", strerror(errno));
	fcntl(k->vm, F_SETFD, FD_CLOEXEC);
	if (ioctl(k->vm, KVM_SET_TSS_ADDR, TSS_ADDR) < 0)
		return error(err, "kvm: KVM_SET_TSS_ADDR failed: %s", strerror(errno));
	if (ioctl(k->vm, KVM_SET_IDENTITY_MAP_ADDR, &identity) < 0)
		return error(err, "kvm: KVM_SET_IDENTITY_MAP_ADDR failed: %s", strerror(errno));
	return true;
}

static bool check_vcpus(struct kvm *k, GError **err)
{
	unsigned wanted = k->accel->config.max_vcpus;

	if (wanted > (unsigned)k->caps[CAP_MAX_VCPUS])
		return error(err, "kvm: -smp %u: this host runs at most %d vCPUs", wanted,
			     k->caps[CAP_MAX_VCPUS]);
	return true;
}

static void run_changed(void *opaque, bool running)
{
	kvm_clock_run(opaque, running);
}

static void kvm_close(struct kvm *k)
{
	if (k->vm >= 0)
		close(k->vm);
	if (k->fd >= 0)
		close(k->fd);
	g_free((void *)k->supported.leaves);
	g_free(k->msr_list);
	if (k->routes)
		g_array_unref(k->routes);
	g_free(k);
}

static bool kvm_init(struct accel *a, GError **err)
{
	struct kvm *k = g_new0(struct kvm, 1);

	k->accel = a;
	k->fd = k->vm = -1;
	pthread_mutex_init(&k->route_lock, NULL);
	if (!open_kvm(k, err) || !kvm_check_caps(k, err) || !check_vcpus(k, err) ||
	    !make_vm(k, err) || !kvm_read_lists(k, err) || !kvm_chips_init(k, err)) {
		kvm_close(k);
		return false;
	}
	k->run_size = kvm_must(k->fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	a->engine = k;
	kvm_slots_init(k);
	a->listener = (struct machine_listener) { .run_changed = run_changed, .opaque = k };
	machine_listen(a->machine, &a->listener);
	return true;
}

static void kvm_destroy(struct accel *a)
{
	struct kvm *k = kvm_of(a);

	vcpus_stop_threads(a);
	machine_unlisten(a->machine, &a->listener);
	kvm_slots_destroy(k);
	kvm_close(k);
	a->engine = NULL;
}

static void kvm_print(struct accel *a, GString *out)
{
	static const char *const modes[] = { "on", "split", "off" };
	struct kvm *k = kvm_of(a);

	g_string_append_printf(out,
			       "kvm support: enabled\nkernel-irqchip: %s\nmemory slots: %u of %d\n",
			       modes[a->config.irqchip], k->slots->len, k->caps[CAP_NR_MEMSLOTS]);
	g_string_append_printf(out, "gsi routes: %u\ncapabilities:\n", k->routes->len);
	kvm_print_caps(k, out);
}

/* A change of its protection makes the kernel drop what it has of the page in the guest's tables.
 */
static void flush_page(struct accel *a, void *host)
{
	void *page = (void *)((uintptr_t)host & ~(PAGE_SIZE_4K - 1));

	(void)a;
	mprotect(page, PAGE_SIZE_4K, PROT_READ);
	mprotect(page, PAGE_SIZE_4K, PROT_READ | PROT_WRITE);
}

const struct accel_ops accel_kvm = {
	.name = "kvm",
	.default_cpu = "qemu64",
	.flush_page = flush_page,
	.desc = "the Linux kernel's virtual machines",
	.init = kvm_init,
	.destroy = kvm_destroy,
	.host_cpuid = kvm_host_cpuid,
	.vcpu_create = kvm_vcpu_create,
	.vcpu_destroy = kvm_vcpu_destroy,
	.vcpu_run = kvm_vcpu_run,
	.vcpu_kick = kvm_vcpu_kick,
	.vcpu_get = kvm_vcpu_get,
	.vcpu_put = kvm_vcpu_put,
	.vcpu_finish_io = kvm_vcpu_finish_io,
	.vcpu_nmi = kvm_vcpu_nmi,
	.vcpu_debug = kvm_vcpu_debug,
	.vcpu_resumed = kvm_vcpu_resumed,
	.set_gsi = kvm_set_gsi,
	.send_msi = kvm_send_msi,
	.chip_get = kvm_chip_get,
	.chip_put = kvm_chip_put,
	.pit_reinject = kvm_pit_reinject,
	.ioapic_routes = kvm_ioapic_routes,
	.msi_route_add = kvm_msi_route_add,
	.msi_route_set = kvm_msi_route_set,
	.msi_route_del = kvm_msi_route_del,
	.ioeventfd = kvm_ioeventfd,
	.clock_get = kvm_clock_get,
	.clock_set = kvm_clock_set,
	.print = kvm_print,
	.print_exits = kvm_print_exits,
};

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Choosing and freeing an engine. */
#include "accel/accel.h"

#include <cpuid.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "accel/kvm/kvm.h"
#include "accel/tcg/engine.h"

const struct accel_ops *const accel_registry[] = { &accel_kvm, &accel_tcg, NULL };

static const struct accel_ops *find_ops(const char *name, GError **err)
{
	g_autoptr(GPtrArray) names = g_ptr_array_new();

	for (const struct accel_ops *const *o = accel_registry; *o; o++) {
		if (!strcmp((*o)->name, name))
			return *o;
		g_ptr_array_add(names, (gpointer)(*o)->name);
	}
	g_ptr_array_add(names, NULL);
	g_autofree char *list = g_strjoinv(", ", (char **)names->pdata);

	error(err, "-accel: no engine '%s' in this build; there are: %s", name, list);
	return NULL;
}

static bool try_engine(struct accel *a, const char *name, GError **err)
{
	a->ops = find_ops(name, err);
	if (!a->ops)
		return false;
	if (!a->ops->translates && a->config.count)
		return error(err,
			     "-icount: only the translator counts instructions; use -accel tcg");
	if (!a->ops->translates && a->config.reference)
		return error(err, "-accel %s: mode=reference is the translator's", name);
	return a->ops->init(a, err);
}

/* A KVM without VMX or SVM is software too, and slower than the translator. */
static const char *choose(void)
{
	unsigned a, b, c, d;
	const char *carrier = NULL;

	if (__get_cpuid(1, &a, &b, &c, &d) && c & BIT(5))
		carrier = "VMX";
	if (__get_cpuid(0x80000001, &a, &b, &c, &d) && c & BIT(2))
		carrier = "SVM";
	if (carrier && !access("/dev/kvm", R_OK | W_OK)) {
		g_printerr("moa: engine kvm: this processor has %s\n", carrier);
		return "kvm:tcg";
	}
	if (!carrier)
		g_printerr("moa: engine tcg: this processor offers no VMX or SVM; '-accel kvm' "
			   "would use /dev/kvm all the same\n");
	else
		g_printerr("moa: engine tcg: /dev/kvm is not there or not yours (%s); with it "
			   "moa would use KVM\n",
			   g_strerror(errno));
	return "tcg";
}

struct accel *accel_new(struct machine *m, const char *names, const struct accel_config *config,
			GError **err)
{
	g_auto(GStrv) list = g_strsplit(names ? names : choose(), ":", -1);
	g_autoptr(GString) why = g_string_new(NULL);
	struct accel *a = g_new0(struct accel, 1);

	a->machine = m;
	a->config = *config;
	a->vcpus = g_ptr_array_new();
	for (char **name = list; *name; name++) {
		GError *local = NULL;

		if (try_engine(a, *name, &local)) {
			m->accel = a;
			m->pause_vcpus = vcpus_pause;
			m->resume_vcpus = vcpus_resume;
			if (why->len)
				g_printerr("moa: %s; using '%s'\n", why->str, *name);
			return a;
		}
		g_string_append_printf(why, "%s%s", why->len ? "; " : "", local->message);
		g_error_free(local);
	}
	error(err, "%s", why->str);
	g_ptr_array_unref(a->vcpus);
	g_free(a);
	return NULL;
}

void accel_free(struct accel *a)
{
	if (!a)
		return;
	if (a->ops->destroy)
		a->ops->destroy(a);
	a->machine->accel = NULL;
	a->machine->pause_vcpus = a->machine->resume_vcpus = NULL;
	g_ptr_array_unref(a->vcpus);
	g_free(a);
}

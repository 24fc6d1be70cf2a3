/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtio 9P transport: a host folder for the guest. Source: Linux, Documentation/filesystems/9p
 * and the virtio id list (device 9): one queue, a tag in the configuration.
 *
 * Messages are answered in order by a thread of the device's own, as the host's file system may
 * block; it takes the machine lock only to give chains back.
 */
#include <string.h>
#include <sys/prctl.h>

#include "core/thread.h"
#include "fs/p9.h"
#include "hw/virtio/virtio.h"

#define F_MOUNT_TAG 0
#define QUEUE_SIZE 128
#define MOST_TAG (VIRTIO_MOST_CONFIG - 2)

struct virtio_9p {
	struct virtio_device vdev;
	char *fsdev, *mount_tag; /* properties */

	struct p9_saved saved;

	struct p9_server *server; /* the thread's, or whoever has found it idle */
	unsigned epoch;
	struct machine_listener listener;
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t more, idle;
	GQueue waiting; /* struct message */
	bool working, ending;
	unsigned in_flight; /* chains that are not given back */
};

struct message {
	struct virtq_chain *chain;
	unsigned epoch;
};

#define D struct p9_saved
static FIELD_TABLE(p9_saved_table, NULL, F(msize), F(n), F(fid), F(flags), F(uid), F(paths));
#undef D

static void give_back(struct virtio_9p *s, struct message *m, size_t len)
{
	struct virtq *q = m->chain->q;

	if (m->epoch != s->epoch) {
		virtq_chain_free(m->chain);
	} else if (!len) {
		virtio_break(&s->vdev, "a message without a header, or no room for the answer");
		virtq_chain_free(m->chain);
	} else {
		virtq_push(q, m->chain, len);
		virtq_notify(q);
	}
	g_free(m);
}

static void *worker(void *opaque)
{
	struct virtio_9p *s = opaque;

	prctl(PR_SET_NAME, "9p");
	pthread_mutex_lock(&s->mutex);
	while (!s->ending) {
		struct message *m = g_queue_pop_head(&s->waiting);
		struct virtq_chain *c;
		size_t len;

		if (!m) {
			pthread_cond_wait(&s->more, &s->mutex);
			continue;
		}
		s->working = true;
		pthread_mutex_unlock(&s->mutex);
		c = m->chain;
		len = p9_handle(s->server, c->iov, (int)c->nout, c->iov + c->nout, (int)c->nin);
		pthread_mutex_lock(&s->mutex);
		s->working = false;
		pthread_cond_broadcast(&s->idle);
		pthread_mutex_unlock(&s->mutex);
		machine_lock();
		give_back(s, m, len);
		machine_unlock();
		pthread_mutex_lock(&s->mutex);
		s->in_flight--;
		pthread_cond_broadcast(&s->idle);
	}
	pthread_mutex_unlock(&s->mutex);
	return NULL;
}

static void kicked(void *dev, struct virtq *q)
{
	struct virtio_9p *s = dev;
	struct virtq_chain *c;

	while ((c = virtq_pop(q))) {
		struct message *m = g_new(struct message, 1);

		*m = (struct message) { c, s->epoch };
		pthread_mutex_lock(&s->mutex);
		g_queue_push_tail(&s->waiting, m);
		s->in_flight++;
		pthread_cond_signal(&s->more);
		pthread_mutex_unlock(&s->mutex);
	}
}

/* Nobody may write to the guest's memory after this. */
static void forget_messages(struct virtio_9p *s)
{
	struct message *m;

	pthread_mutex_lock(&s->mutex);
	while ((m = g_queue_pop_head(&s->waiting))) {
		virtq_chain_free(m->chain);
		g_free(m);
		s->in_flight--;
	}
	while (s->working)
		pthread_cond_wait(&s->idle, &s->mutex);
	pthread_mutex_unlock(&s->mutex);
	s->epoch++;
}

static void p9_reset_session(void *dev)
{
	struct virtio_9p *s = dev;

	forget_messages(s);
	p9_reset(s->server);
}

/* Everything is answered before the VM counts as stopped. */
static void run_changed(void *opaque, bool running)
{
	struct virtio_9p *s = opaque;

	if (running)
		return;
	machine_unlock();
	pthread_mutex_lock(&s->mutex);
	while (s->in_flight)
		pthread_cond_wait(&s->idle, &s->mutex);
	pthread_mutex_unlock(&s->mutex);
	machine_lock();
}

static void get_config(void *dev, uint8_t *config)
{
	struct virtio_9p *s = dev;
	size_t len = strlen(s->mount_tag);

	store_le(config, len, 2);
	memcpy(config + 2, s->mount_tag, len);
}

static const struct virtio_info p9_info = {
	.id = 9,
	.features = BIT64(F_MOUNT_TAG),
	.config_size = VIRTIO_MOST_CONFIG,
	.get_config = get_config,
	.reset = p9_reset_session,
};

#define D struct virtio_9p

static bool p9_realize(void *dev, GError **err)
{
	struct virtio_9p *s = dev;
	struct folder *f = s->fsdev ? folder_find(s->fsdev) : NULL;
	int e;

	if (!f)
		return error(err,
			     "%s: no fsdev '%s'; make it with -fsdev local,id=ID,path=DIR,"
			     "security_model=mapped-xattr",
			     device_name(dev), s->fsdev ? s->fsdev : "");
	if (!s->mount_tag || !*s->mount_tag || strlen(s->mount_tag) > MOST_TAG)
		return error(err, "%s: mount_tag=: takes 1 to %d characters", device_name(dev),
			     MOST_TAG);
	s->server = p9_new(f);
	pthread_mutex_init(&s->mutex, NULL);
	pthread_cond_init(&s->more, NULL);
	pthread_cond_init(&s->idle, NULL);
	g_queue_init(&s->waiting);
	e = thread_start(&s->thread, worker, s);
	if (e)
		return error(err, "%s: no thread: %s", device_name(dev), strerror(e));
	s->listener = (struct machine_listener) { .run_changed = run_changed, .opaque = s };
	machine_listen(s->vdev.pci.dev.machine, &s->listener);
	virtio_init(s, &p9_info, 2);
	virtio_add_queue(s, QUEUE_SIZE, kicked);
	return true;
}

static void p9_unrealize(void *dev)
{
	struct virtio_9p *s = dev;

	machine_unlisten(s->vdev.pci.dev.machine, &s->listener);
	forget_messages(s);
	pthread_mutex_lock(&s->mutex);
	s->ending = true;
	pthread_cond_broadcast(&s->more);
	pthread_mutex_unlock(&s->mutex);
	machine_unlock();
	pthread_join(s->thread, NULL);
	machine_lock();
	p9_free(s->server);
	virtio_destroy(s);
}

static void p9_reset_device(void *dev)
{
	virtio_reset(dev);
}

static void p9_saving(void *dev)
{
	struct virtio_9p *s = dev;

	p9_save(s->server, &s->saved);
}

static bool p9_loaded(void *dev, GError **err)
{
	struct virtio_9p *s = dev;

	if (!p9_load(s->server, &s->saved))
		return error(err, "saved state: '%s': its files make no sense",
			     s->vdev.pci.dev.path);
	return virtio_loaded(dev, err);
}

static const struct pci_info p9_pci = VIRTIO_PCI(0x1009, 0x0002, 9);

DEVICE(virtio_9p,
	.name = "virtio-9p-pci",
	.alias = "virtio-9p",
	.desc = "a host folder for the guest, by 9P2000.L",
	.bus = "PCI",
	.bus_info = &p9_pci,
	.props = FIELDS(F(fsdev, .help = "the fsdev's id"),
			F(mount_tag, .help = "what the guest mounts it by"), VIRTIO_PROPS),
	.state = FIELDS(FO(vdev, virtio_device_table), FO(saved, p9_saved_table)),
	.host = HOST(server, epoch, listener, thread, mutex, more, idle, waiting, working, ending,
		     in_flight),
	.realize = p9_realize,
	.unrealize = p9_unrealize,
	.reset = p9_reset_device,
	.saving = p9_saving,
	.loaded = p9_loaded);

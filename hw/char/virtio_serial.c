/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtio console device with several ports: consoles and named pipes between guest and host.
 * Source: Virtual I/O Device (VIRTIO) Version 1.2, 5.3.
 */
#include <stdio.h>
#include <string.h>

#include "chardev/chardev.h"
#include "core/log.h"
#include "hw/virtio/virtio.h"

#define F_MULTIPORT 1
#define F_EMERGENCY_WRITE 2

#define MOST_PORTS 31
#define QUEUE_SIZE 128
#define CONFIG_BYTES 12
#define CONFIG_EMERGENCY_AT 8
#define CONTROL_BYTES 8
#define MOST_NAME 64
#define MOST_EVENTS 256

enum {
	EVENT_DEVICE_READY,
	EVENT_PORT_ADD,
	EVENT_PORT_REMOVE,
	EVENT_PORT_READY,
	EVENT_CONSOLE_PORT,
	EVENT_RESIZE,
	EVENT_PORT_OPEN,
	EVENT_PORT_NAME
};

struct virtio_serial {
	struct virtio_device vdev;
	uint8_t max_ports; /* property */

	bool driver_ready;
	uint32_t guest_open; /* ports that the guest has opened */

	struct bus bus;
	struct serial_port *ports[MOST_PORTS];
	GQueue events; /* GBytes: control messages that have no buffer yet */
};

struct serial_port {
	struct device dev;
	char *chardev, *name; /* properties */
	uint8_t nr;

	bool console;
	struct virtio_serial *s;
	struct chr_front front;
};

#define AUTO_NR 0xff

/* 5.3.2: port 0's queues come before the control queues. */
static unsigned rx_queue(unsigned port)
{
	return port ? 2 * port + 2 : 0;
}

#define CONTROL_RX 2
#define CONTROL_TX 3

static bool has_ports(const struct virtio_serial *s)
{
	return virtio_has(&s->vdev, F_MULTIPORT);
}

static bool is_open(const struct serial_port *p)
{
	return !has_ports(p->s) || p->s->guest_open & BIT(p->nr);
}

/* Control messages. */

static void send_events(struct virtio_serial *s)
{
	struct virtq *q = &s->vdev.queues[CONTROL_RX];

	while (virtio_is_started(&s->vdev) && q->enabled && s->events.length) {
		struct virtq_chain *c = virtq_pop(q);
		GBytes *b;
		gsize len;
		const void *data;

		if (!c)
			return;
		b = g_queue_pop_head(&s->events);
		data = g_bytes_get_data(b, &len);
		virtq_push(q, c, virtq_write(c, 0, data, len));
		virtq_notify(q);
		g_bytes_unref(b);
	}
}

static void tell(struct virtio_serial *s, unsigned port, unsigned event, unsigned value,
		 const char *text)
{
	uint8_t b[CONTROL_BYTES + MOST_NAME];
	size_t n = text ? MIN_OF(strlen(text), (size_t)MOST_NAME) : 0;

	if (!has_ports(s) || !s->driver_ready || s->events.length >= MOST_EVENTS)
		return;
	store_le(b, port, 4);
	store_le(b + 4, event, 2);
	store_le(b + 6, value, 2);
	memcpy(b + CONTROL_BYTES, text ? text : "", n);
	g_queue_push_tail(&s->events, g_bytes_new(b, CONTROL_BYTES + n));
	send_events(s);
}

static void event_to_qmp(struct serial_port *p, bool open)
{
	g_autofree char *data = g_strdup_printf("{\"id\": \"%s\", \"open\": %s}",
						p->dev.id ? p->dev.id
						: p->name ? p->name
							  : "",
						open ? "true" : "false");

	machine_event(p->dev.machine, "VSERPORT_CHANGE", data);
}

static void port_ready(struct virtio_serial *s, struct serial_port *p)
{
	if (p->console)
		tell(s, p->nr, EVENT_CONSOLE_PORT, 1, NULL);
	if (p->name)
		tell(s, p->nr, EVENT_PORT_NAME, 1, p->name);
	if (p->console || p->front.open)
		tell(s, p->nr, EVENT_PORT_OPEN, 1, NULL);
}

static void control(struct virtio_serial *s, const uint8_t *b)
{
	uint32_t nr = (uint32_t)load_le(b, 4);
	bool value = load_le(b + 6, 2);
	struct serial_port *p = nr < s->max_ports ? s->ports[nr] : NULL;
	unsigned event = (unsigned)load_le(b + 4, 2);

	if (event == EVENT_DEVICE_READY) {
		s->driver_ready = value;
		for (unsigned i = 0; i < s->max_ports; i++)
			if (s->ports[i])
				tell(s, i, EVENT_PORT_ADD, 1, NULL);
		return;
	}
	if (!p) {
		log_guest(s, "control event %u for port %u, which is not there", event, nr);
		return;
	}
	switch (event) {
	case EVENT_PORT_READY:
		if (value)
			port_ready(s, p);
		break;
	case EVENT_PORT_OPEN:
		s->guest_open = (s->guest_open & ~BIT(nr)) | (value ? BIT(nr) : 0);
		event_to_qmp(p, value);
		chr_accept_input(&p->front);
		break;
	}
}

static void control_kicked(void *dev, struct virtq *q)
{
	struct virtq_chain *c;

	while ((c = virtq_pop(q))) {
		uint8_t b[CONTROL_BYTES];

		if (virtq_read(c, 0, b, sizeof(b)) == sizeof(b))
			control(dev, b);
		else
			log_guest(dev, "a control message of %zu bytes", c->out_len);
		if (virtio_is_broken(dev)) {
			virtq_chain_free(c);
			return;
		}
		virtq_push(q, c, 0);
		virtq_notify(q);
	}
}

static void control_buffers(void *dev, struct virtq *q)
{
	(void)q;
	send_events(dev);
}

/* Data. */

static void transmit(void *dev, struct virtq *q)
{
	struct virtio_serial *s = dev;
	unsigned n = virtio_queue_index(q), nr = n < CONTROL_RX ? 0 : n / 2 - 1;
	struct serial_port *p = nr < s->max_ports ? s->ports[nr] : NULL;
	struct virtq_chain *c;

	while ((c = virtq_pop(q))) {
		/* What the host does not take stays in the guest, who waits. */
		if (p && !chr_output_room(&p->front, c->out_len)) {
			virtq_unpop(q, c);
			return;
		}
		for (unsigned i = 0; p && i < c->nout; i++)
			chr_write(&p->front, c->iov[i].iov_base, c->iov[i].iov_len);
		virtq_push(q, c, 0);
		virtq_notify(q);
	}
}

static void receive_buffers(void *dev, struct virtq *q)
{
	struct virtio_serial *s = dev;
	unsigned n = virtio_queue_index(q), nr = n ? n / 2 - 1 : 0;

	if (nr < s->max_ports && s->ports[nr])
		chr_accept_input(&s->ports[nr]->front);
}

static void can_write(void *opaque)
{
	struct serial_port *p = opaque;
	struct virtq *q = &p->s->vdev.queues[rx_queue(p->nr) + 1];

	if (virtio_is_started(&p->s->vdev) && q->enabled)
		transmit(p->s, q);
}

static size_t can_read(void *opaque)
{
	struct serial_port *p = opaque;
	struct virtq *q = &p->s->vdev.queues[rx_queue(p->nr)];

	if (!virtio_is_started(&p->s->vdev) || !q->enabled || !is_open(p) || !virtq_has_chain(q))
		return 0;
	return 4096;
}

/* What finds no buffer is lost, but can_read has seen one, and drivers have pages of them. */
static void front_read(void *opaque, const uint8_t *data, size_t len)
{
	struct serial_port *p = opaque;
	struct virtq *q = &p->s->vdev.queues[rx_queue(p->nr)];
	struct virtq_chain *c;

	while (len && (c = virtq_pop(q))) {
		size_t n = virtq_write(c, 0, data, len);

		data += n;
		len -= n;
		virtq_push(q, c, n);
		if (!n)
			break;
	}
	virtq_notify(q);
}

static void front_event(void *opaque, enum chr_event e)
{
	struct serial_port *p = opaque;

	if (!p->console && (e == CHR_OPENED || e == CHR_CLOSED))
		tell(p->s, p->nr, EVENT_PORT_OPEN, e == CHR_OPENED, NULL);
}

/* Configuration. */

static void get_config(void *dev, uint8_t *config)
{
	store_le(config + 4, ((struct virtio_serial *)dev)->max_ports, 4);
}

/* A byte of a guest that has no driver yet. */
static void set_config(void *dev, const uint8_t *config, unsigned off, unsigned size)
{
	struct virtio_serial *s = dev;

	if (off <= CONFIG_EMERGENCY_AT && off + size > CONFIG_EMERGENCY_AT && s->ports[0])
		chr_write(&s->ports[0]->front, config + CONFIG_EMERGENCY_AT, 1);
}

static void serial_reset(void *dev)
{
	struct virtio_serial *s = dev;
	GBytes *b;

	while ((b = g_queue_pop_head(&s->events)))
		g_bytes_unref(b);
	s->driver_ready = false;
	s->guest_open = 0;
}

static const struct virtio_info serial_info = {
	.id = 3,
	.features = BIT64(F_MULTIPORT) | BIT64(F_EMERGENCY_WRITE),
	.config_size = CONFIG_BYTES,
	.get_config = get_config,
	.set_config = set_config,
	.reset = serial_reset,
};

/* The bus. */

static bool port_attach(struct bus *bus, struct device *dev, GError **err)
{
	struct virtio_serial *s = container_of(bus, struct virtio_serial, bus);
	struct serial_port *p = (struct serial_port *)dev;

	p->console = !strcmp(dev->info->name, "virtconsole");
	if (p->nr == AUTO_NR) {
		/* Port 0 is a console's, as drivers without ports have only that. */
		p->nr = p->console ? 0 : 1;
		while (p->nr < s->max_ports && s->ports[p->nr])
			p->nr++;
	}
	if (p->nr >= s->max_ports)
		return error(err, "%s: bus '%s' has %u ports; give the adapter max_ports=",
			     device_name(dev), bus->name, s->max_ports);
	if (s->ports[p->nr])
		return error(err, "%s: nr=%u is taken on bus '%s'", device_name(dev), p->nr,
			     bus->name);
	if (!p->nr && !p->console)
		return error(err, "%s: nr=0 is for a virtconsole", device_name(dev));
	s->ports[p->nr] = p;
	p->s = s;
	return true;
}

static void port_detach(struct bus *bus, struct device *dev)
{
	struct virtio_serial *s = container_of(bus, struct virtio_serial, bus);
	struct serial_port *p = (struct serial_port *)dev;

	if (p->s == s)
		s->ports[p->nr] = NULL;
}

#define D struct virtio_serial

static bool serial_realize(void *dev, GError **err)
{
	struct virtio_serial *s = dev;

	(void)err;
	s->bus = (struct bus) { .type = "virtio-serial-bus",
				.name = bus_name(dev, "virtio-serial", 0),
				.owner = dev,
				.attach = port_attach,
				.detach = port_detach };
	g_ptr_array_add(s->bus.owner->machine->buses, &s->bus);
	g_queue_init(&s->events);
	virtio_init(s, &serial_info, 2u * s->max_ports + 3);
	for (unsigned i = 0; i < 2u * s->max_ports + 2; i++)
		virtio_add_queue(s, QUEUE_SIZE,
				 i == CONTROL_RX   ? control_buffers
				 : i == CONTROL_TX ? control_kicked
				 : i & 1	   ? transmit
						   : receive_buffers);
	return true;
}

static void serial_unrealize(void *dev)
{
	struct virtio_serial *s = dev;

	serial_reset(s);
	g_ptr_array_remove(s->bus.owner->machine->buses, &s->bus);
	g_free(s->bus.name);
	virtio_destroy(s);
}

static void serial_reset_device(void *dev)
{
	virtio_reset(dev);
}

static bool serial_loaded(void *dev, GError **err)
{
	struct virtio_serial *s = dev;

	s->guest_open &= (uint32_t)((UINT64_C(1) << s->max_ports) - 1);
	return virtio_loaded(dev, err);
}

/* What other ends did while the VM did not run. */
static void serial_run_changed(void *dev, bool running)
{
	struct virtio_serial *s = dev;

	for (unsigned i = 0; running && i < s->max_ports; i++)
		if (s->ports[i])
			chr_accept_input(&s->ports[i]->front);
}

static const struct pci_info serial_pci = VIRTIO_PCI(0x1003, 0x0780, 3);

DEVICE(virtio_serial,
	.name = "virtio-serial-pci",
	.alias = "virtio-serial",
	.desc = "virtio console device: ports are virtconsole and virtserialport",
	.bus = "PCI",
	.bus_info = &serial_pci,
	.props = FIELDS({ .name = "max_ports", .type = FT_U8, .offset = offsetof(D, max_ports),
			  .size = 1, .init = MOST_PORTS, .min = 1, .max = MOST_PORTS,
			  .help = "ports" },
			VIRTIO_PROPS),
	.state = FIELDS(FO(vdev, virtio_device_table), F(driver_ready), F(guest_open)),
	.host = HOST(max_ports, bus, ports, events),
	.realize = serial_realize,
	.unrealize = serial_unrealize,
	.reset = serial_reset_device,
	.loaded = serial_loaded,
	.run_changed = serial_run_changed);
#undef D
#define D struct serial_port

static bool port_realize(void *dev, GError **err)
{
	struct serial_port *p = dev;
	struct chardev *chr = p->chardev ? chr_find(p->chardev) : NULL;

	if (!chr)
		return error(err, "%s: no chardev '%s'; make it with -chardev", device_name(dev),
			     p->chardev ? p->chardev : "");
	p->front = (struct chr_front) { .can_read = can_read,
					.read = front_read,
					.event = front_event,
					.can_write = can_write,
					.opaque = p };
	return chr_attach(chr, &p->front, err);
}

static void port_unrealize(void *dev)
{
	chr_detach(&((struct serial_port *)dev)->front);
}

/* clang-format off */
#define PORT_PROPS                                                                                 \
	F(chardev, .help = "the chardev's id"), F(name, .help = "the guest sees it in /dev/virtio-ports"), \
	F(nr, .init = AUTO_NR, .help = "the port's number; 255: the first that is free")
/* clang-format on */

DEVICE(virtconsole,
	.name = "virtconsole",
	.desc = "a console on a virtio console device",
	.bus = "virtio-serial-bus",
	.props = FIELDS(PORT_PROPS),
	.state = FIELDS({ .type = FT_NONE }),
	.host = HOST(console, s, front),
	.realize = port_realize,
	.unrealize = port_unrealize);

DEVICE(virtserialport,
	.name = "virtserialport",
	.desc = "a named port on a virtio console device",
	.bus = "virtio-serial-bus",
	.props = FIELDS(PORT_PROPS),
	.state = FIELDS({ .type = FT_NONE }),
	.host = HOST(console, s, front),
	.realize = port_realize,
	.unrealize = port_unrealize);

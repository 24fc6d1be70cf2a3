/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A port of a switch on this host: uml_switch or vde_switch. The control socket is asked for one,
 * and answers with the socket that frames go to; ours, for what comes back, is named in the
 * request. Source: the protocol's version 3, as UML's daemon transport and VDE speak it.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/options.h"
#include "net/packet.h"

#define MAGIC 0xfeedface
#define VERSION 3
#define NEW_CONTROL 0
#define SECONDS_TO_ANSWER 5

struct request {
	uint32_t magic, version, type;
	struct sockaddr_un sock;
};

struct vde {
	int control; /* the port is ours while it is open */
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

static void closing(struct packet_fd *f, void *extra)
{
	struct vde *v = extra;

	(void)f;
	close(v->control);
	if (v->path[0])
		unlink(v->path);
	g_free(v);
}

/* A directory has its control socket inside. */
static char *control_path(const char *sock)
{
	return g_file_test(sock, G_FILE_TEST_IS_DIR) ? g_build_filename(sock, "ctl", NULL)
						     : g_strdup(sock);
}

static int connect_control(const char *path, GError **err)
{
	struct timeval limit = { .tv_sec = SECONDS_TO_ANSWER };
	struct sockaddr_storage a;
	socklen_t len;
	int fd;

	if (!net_unix_address("-netdev vde", "sock", path, &a, &len, err))
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && !setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) &&
	    !connect(fd, (struct sockaddr *)&a, len))
		return fd;
	error(err, "-netdev vde: sock=%s: %s; is the switch running?", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

/*
 * Ours. uml_switch tells ports apart by whole addresses, which only names outside the file system
 * fill; those are not seen from another network namespace, so VDE gets a file.
 */
static int make_data_socket(struct sockaddr_un *mine, bool file, GError **err)
{
	static unsigned number;
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	mine->sun_family = AF_UNIX;
	g_snprintf(mine->sun_path + !file, sizeof(mine->sun_path) - 1, "%s/moa-vde-%d-%u",
		   g_get_tmp_dir(), (int)getpid(), number++);
	if (file)
		unlink(mine->sun_path);
	if (fd >= 0 && !bind(fd, (struct sockaddr *)mine, sizeof(*mine)))
		return fd;
	error(err, "-netdev vde: '%s': %s", mine->sun_path + !file, strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

static bool vde_open(struct net_port *p, struct optlist *l, GError **err)
{
	const char *sock = optlist_get(l, "sock");
	struct request r = { .magic = MAGIC, .version = VERSION, .type = NEW_CONTROL };
	g_autofree char *path = control_path(sock ? sock : "/var/run/vde.ctl");
	struct sockaddr_un theirs = { 0 };
	struct packet_fd *f;
	struct vde *v;
	int control, data;

	control = connect_control(path, err);
	if (control < 0)
		return false;
	data = make_data_socket(&r.sock, g_str_has_suffix(path, "/ctl"), err);
	if (data < 0) {
		close(control);
		return false;
	}
	if (send(control, &r, sizeof(r), MSG_NOSIGNAL) != (ssize_t)sizeof(r) ||
	    recv(control, &theirs, sizeof(theirs), 0) < (ssize_t)sizeof(theirs.sun_family) ||
	    theirs.sun_family != AF_UNIX) {
		error(err, "-netdev vde: sock=%s: the switch does not answer as one of version 3",
		      path);
		close(control);
		close(data);
		if (r.sock.sun_path[0])
			unlink(r.sock.sun_path);
		return false;
	}
	v = g_new0(struct vde, 1);
	v->control = control;
	strcpy(v->path, r.sock.sun_path);
	f = packet_fd_new(p, data, g_strdup_printf("vde: sock=%s", path));
	memcpy(&f->to, &theirs, sizeof(theirs));
	f->to_len = sizeof(theirs);
	f->extra = v;
	f->closing = closing;
	return true;
}

const struct net_backend net_backend_vde = {
	.name = "vde",
	.help = "a port of vde_switch or uml_switch: sock=PATH",
	.open = vde_open,
};

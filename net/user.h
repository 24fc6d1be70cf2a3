/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What monitors do with user networks (net/user.c). Machine lock. */
#pragma once

#include <glib.h>

#include "core/error.h"

/*
 * Forwards a port of the host, by "[tcp|udp]:[HOSTADDR]:PORT-[GUESTADDR]:PORT", or no more, by
 * what stands before the dash. netdev: the network's id; NULL: the only one there is.
 */
bool net_user_forward(const char *netdev, const char *rule, GError **err);
bool net_user_forward_no_more(const char *netdev, const char *rule, GError **err);
/* For `info usernet`: what goes through each network. */
void net_user_print(GString *out);

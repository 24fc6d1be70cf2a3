/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Networks of the command line: -netdev, -nic, -net. */
#pragma once

#include "core/options.h"
#include "net/net.h"

struct net_wishes {
	GPtrArray *netdevs;		/* texts of -netdev */
	GPtrArray *nics;		/* texts of -nic */
	GPtrArray *old_nics, *old_nets; /* texts of -net nic and of other -net */
	bool given;			/* anything at all, `none` included */
};

void net_wishes_init(struct net_wishes *w);
void net_wishes_clear(struct net_wishes *w);
void net_wish_net(struct net_wishes *w, const char *text);
/* Makes the networks; the cards come with net_wishes_cards, after the board. */
bool net_wishes_networks(struct net_wishes *w, struct machine *m, GError **err);
bool net_wishes_cards(struct net_wishes *w, struct machine *m, bool defaults, GError **err);
/* Models of cards, for -nic model=help. */
char *net_models_help(void);

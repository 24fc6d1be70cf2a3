/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Generic receive offload: segments of one TCP stream that come one behind the other become a long
 * one, for a peer that takes such. Nothing is kept between two calls of gro_flush.
 */
#pragma once

#include "net/net.h"

struct gro;

struct gro *gro_new(struct net_port *p);
void gro_free(struct gro *g);
/* A finished frame for the peer. */
void gro_send(struct gro *g, const uint8_t *frame, size_t len);
/* Sends what was held back: whenever no more comes at once. */
void gro_flush(struct gro *g);

/* SPDX-License-Identifier: MIT */
/*
 * The legacy board's graphics card: its BIOS, its place on the board, and pictures of its screen.
 *
 *   owner   vm    thread  the control loop
 */
#pragma once

#include <stdint.h>

#include "vm/vm_internal.h"

/*
 * Before anything is made: vm->vga, if the configuration has a card, and with firmware the card's BIOS. An
 * errno with a sentence.
 */
MUST_CHECK int vm_vga_open(struct vm *vm, struct diag *reterr);

/*
 * Reads a VGA BIOS and looks whether the card takes it. 0, and *ret is for free(); -EINVAL or an errno, with a
 * sentence.
 */
MUST_CHECK int vm_vga_read_rom(const char *path, uint8_t **ret, size_t *ret_bytes,
			       struct diag *reterr);

/* The board's row (legacy.c). Nothing to do without a card. */
MUST_CHECK int vm_vga_create(struct vm *vm);
void vm_vga_reset(struct vm *vm);
void vm_vga_destroy(struct vm *vm);
void vm_vga_inspect(struct vm *vm, struct inspect *at);

/*
 * The VM ends: is no picture being written any more? If one is, vm->device_gone is posted when it has been,
 * and no other begins.
 */
bool vm_vga_is_done(struct vm *vm);

/* "screendump", of the control socket. */
void vm_verb_screendump(void *ctx, const struct json_t *request, struct rpc_reply *reply);

/* SPDX-License-Identifier: MIT */
/*
 * The program's commands. Each takes its own argv (argv[0] is the command's name) and returns the
 * exit status. Messages are one line on standard error: "tabique: error: what, and the remedy".
 */
#pragma once

#include "base/diag.h"

int cmd_run(int argc, char **argv);
int cmd_ctl(int argc, char **argv);
int cmd_disk(int argc, char **argv);
int cmd_switch(int argc, char **argv);
int cmd_host_check(int argc, char **argv);

/* Prints the sentence; returns status. */
int cmd_fail(int status, const struct diag *diag);

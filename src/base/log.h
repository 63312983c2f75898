/* SPDX-License-Identifier: MIT */
/*
 * The log: one line per event on standard error, "tabique: level: area: text".
 *
 * Only the owner of an object logs (a device, the worker); everything below returns values. What a
 * guest can provoke goes through log_guest(), which is limited in rate so that a hostile guest
 * cannot fill the host's disk.
 *
 *   thread  any
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Lines above this level are dropped. Default: LOG_WARN. Set before threads start. */
void log_set_level(enum log_level level);
enum log_level log_level(void);

__attribute__((format(printf, 3, 4))) void log_write(enum log_level level, const char *area,
						     const char *fmt, ...);

#define log_error(area, ...) log_write(LOG_ERROR, area, __VA_ARGS__)
#define log_warn(area, ...)  log_write(LOG_WARN, area, __VA_ARGS__)
#define log_info(area, ...)  log_write(LOG_INFO, area, __VA_ARGS__)
#define log_debug(area, ...) log_write(LOG_DEBUG, area, __VA_ARGS__)

/* At most LOG_RATE_BURST lines per LOG_RATE_WINDOW_NS from one place; zero it to begin. */
#define LOG_RATE_BURST       5
#define LOG_RATE_WINDOW_NS   (10ULL * 1000 * 1000 * 1000)

struct log_rate {
	uint64_t window_start_ns;
	uint32_t lines;
	uint32_t dropped;
};

/*
 * Whether log_guest() would drop a line now; then it is counted as dropped, and its text need not even be
 * made, so that nonsense costs no more than sense.
 */
bool log_guest_drops(struct log_rate *rate);

/*
 * A guest's nonsense. Belongs to one thread with its rate; says how many lines were dropped when a
 * new window opens. Logged at LOG_WARN.
 */
__attribute__((format(printf, 3, 4))) void log_guest(struct log_rate *rate, const char *area,
						     const char *fmt, ...);

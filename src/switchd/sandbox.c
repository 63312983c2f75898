/* SPDX-License-Identifier: MIT */
#include "switchd/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/num.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HAS_SANITIZER 1
#endif
#endif

/* ---- the process -------------------------------------------------------------------------------- */

/*
 * An empty root: a directory that has no name any more. Nothing can be made in it, and a process without
 * privileges never finds its way out.
 */
static int empty_root(struct diag *reterr)
{
	char path[] = "/run/tabique-empty-XXXXXX";

	if (!mkdtemp(path)) {
		return diag_set(reterr, -errno, "cannot make an empty directory in /run: %s",
				strerror(errno));
	}
	if (chmod(path, 0555) || chdir(path) || rmdir(path) || chroot(".") || chdir("/")) {
		return diag_set(reterr, -errno, "cannot enter an empty root directory: %s",
				strerror(errno));
	}
	return 0;
}

int sandbox_process(uid_t uid, gid_t gid, bool keeps_files, struct diag *reterr)
{
	int err = 0;

	if (geteuid() == 0 && uid != 0) {
		err = keeps_files ? 0 : empty_root(reterr);
		if (!err &&
		    (setgroups(0, NULL) || setresgid(gid, gid, gid) || setresuid(uid, uid, uid))) {
			err = diag_set(reterr, -errno, "cannot become user %u: %s", uid,
				       strerror(errno));
		}
	}
	if (!err && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) {
		err = diag_set(reterr, -errno, "cannot give up privileges: %s", strerror(errno));
	}
	return err;
}

/* ---- system calls ------------------------------------------------------------------------------- */

/* Memory, waiting, descriptors that are there already: everybody's. */
static const int common[] = {
	/* the loop, and who waits for it */
	SYS_io_uring_enter,
	SYS_io_uring_register,
	SYS_futex,
	SYS_poll,
	SYS_ppoll,
	SYS_sched_yield,
	SYS_restart_syscall,
	SYS_clock_gettime,
	SYS_clock_nanosleep,
	SYS_nanosleep,
	SYS_gettimeofday,
	SYS_getcpu,
	SYS_sched_setscheduler,
	SYS_sched_getscheduler,
	SYS_sched_getaffinity,
	SYS_setpriority,
	SYS_getpriority,
	/* memory */
	SYS_mmap,
	SYS_munmap,
	SYS_mprotect,
	SYS_mremap,
	SYS_madvise,
	SYS_brk,
	SYS_membarrier,
	/* wires, doorbells, the log */
	SYS_read,
	SYS_write,
	SYS_readv,
	SYS_writev,
	SYS_pread64,
	SYS_pwrite64,
	SYS_recvmsg,
	SYS_sendmsg,
	SYS_recvmmsg,
	SYS_sendmmsg,
	SYS_recvfrom,
	SYS_sendto,
	SYS_close,
	SYS_ioctl,
	SYS_fcntl,
	SYS_getsockopt,
	SYS_setsockopt,
	SYS_getsockname, /* which interface a packet socket is of, */
	SYS_dup3,        /* and it takes another's place */
	SYS_fstat,
	SYS_newfstatat,
	SYS_lseek,
	/* ends */
	SYS_exit,
	SYS_exit_group,
	SYS_rt_sigreturn,
	SYS_rt_sigaction,
	SYS_rt_sigprocmask,
	SYS_tgkill,
	SYS_gettid,
	SYS_getpid,
	SYS_sigaltstack,
	SYS_getrandom,
};

/* What only the control thread needs. */
static const int control[] = {
	SYS_accept4,   SYS_socketpair,        SYS_memfd_create, SYS_ftruncate, SYS_fstatfs,
	SYS_eventfd2,  SYS_pidfd_open,        SYS_readlinkat,   SYS_readlink,  SYS_dup,
	SYS_shutdown,  SYS_getpeername,       SYS_getuid,       SYS_geteuid,   SYS_prctl,
	SYS_fallocate, SYS_pidfd_send_signal,
};

/*
 * What NAT's process needs: sockets of its own, and the names of the host's resolvers. socket(2), open(2) and
 * openat(2) are looked at more closely.
 */
static const int sockets[] = {
	SYS_bind,        SYS_connect,  SYS_listen, SYS_accept,   SYS_accept4,
	SYS_getpeername, SYS_shutdown, SYS_stat,   SYS_lstat,    SYS_getuid,
	SYS_geteuid,     SYS_dup,      SYS_select, SYS_pselect6, SYS_memfd_create,
};

#ifndef HAS_SANITIZER

#define PROGRAM_MAX 256
#define DENY        (SECCOMP_RET_ERRNO | (EPERM & SECCOMP_RET_DATA))

struct program {
	struct sock_filter ops[PROGRAM_MAX];
	unsigned short count;
};

static void add_op(struct program *program, struct sock_filter op)
{
	check(program->count < PROGRAM_MAX);
	program->ops[program->count++] = op;
}

static void allow(struct program *program, const int *calls, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		add_op(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
							     (uint32_t)calls[i], 0, 1));
		add_op(program, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
	}
}

static void load_argument(struct program *program, unsigned int index)
{
	/* Its lower half: all of it for an int. */
	add_op(program,
	       (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
					    (uint32_t)offsetof(struct seccomp_data, args[index])));
}

static void answer(struct program *program, uint32_t verdict)
{
	add_op(program, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, verdict));
}

/* socket(2) of IP only. The call's number is in the accumulator, and is again for others. */
static void allow_ip_sockets(struct program *program)
{
	add_op(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 5));
	load_argument(program, 0);
	add_op(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_INET, 1, 0));
	add_op(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_INET6, 0, 1));
	answer(program, SECCOMP_RET_ALLOW);
	answer(program, DENY);
}

/* Files that are there, to be read. */
static void allow_reading(struct program *program, int call, unsigned int flags_index)
{
	add_op(program,
	       (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)call, 0, 4));
	load_argument(program, flags_index);
	add_op(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K,
						     O_ACCMODE | O_CREAT | O_TRUNC, 1, 0));
	answer(program, SECCOMP_RET_ALLOW);
	answer(program, DENY);
}

int sandbox_thread(enum sandbox_role role)
{
	struct program program = { .count = 0 };
	struct sock_fprog fprog;

	add_op(&program, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
						      offsetof(struct seccomp_data, arch)));
	add_op(&program,
	       (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0));
	add_op(&program, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS));
	add_op(&program, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
						      offsetof(struct seccomp_data, nr)));
	allow(&program, common, ARRAY_SIZE(common));
	if (role == SANDBOX_CONTROL) {
		allow(&program, control, ARRAY_SIZE(control));
	}
	if (role == SANDBOX_NAT) {
		allow(&program, sockets, ARRAY_SIZE(sockets));
		allow_ip_sockets(&program);
		allow_reading(&program, SYS_open, 1);
		allow_reading(&program, SYS_openat, 2);
	}
	answer(&program, DENY);
	fprog = (struct sock_fprog){ .len = program.count, .filter = program.ops };
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &fprog)) {
		return -errno;
	}
	return 0;
}

#else

int sandbox_thread(enum sandbox_role role)
{
	(void)role;
	(void)common;
	(void)control;
	(void)sockets;
	return 0;
}

#endif

void sandbox_raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/*
 * The process that holds a pod's namespaces open: it sleeps, reaps orphans that
 * the pod's shared process namespace leaves to it, and ends on SIGTERM or SIGINT.
 */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void reap(int signal)
{
    (void)signal;
    while (waitpid(-1, 0, WNOHANG) > 0) {
    }
}

static void leave(int signal)
{
    (void)signal;
    _exit(0);
}

int main(void)
{
    struct sigaction on_child = {.sa_handler = reap, .sa_flags = SA_NOCLDSTOP};
    struct sigaction on_stop = {.sa_handler = leave};

    if (sigaction(SIGCHLD, &on_child, 0) || sigaction(SIGTERM, &on_stop, 0) || sigaction(SIGINT, &on_stop, 0))
        return 1;
    for (;;)
        pause();
}

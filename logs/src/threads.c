/* Several threads that allocate, grow, share and give back memory. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 6, ROUNDS = 40, SLOTS = 16 };
static atomic_ulong total;
static unsigned char *shared;

static void *work(void *arg) {
    unsigned long id = (unsigned long)arg, seed = id * 2654435761u + 1;
    void *slot[SLOTS] = {0};
    for (int round = 0; round < ROUNDS; round++) {
        seed = seed * 6364136223846793005ul + 1442695040888963407ul;
        int i = (seed >> 33) % SLOTS;
        size_t size = 1000 + (seed >> 40) % 200000;
        slot[i] = realloc(slot[i], size);
        memset(slot[i], (int)id, size);
        atomic_fetch_add(&total, ((unsigned char *)slot[i])[size - 1]);

        size_t len = (1 + (seed >> 20) % 24) * 4096;
        unsigned char *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        memset(p, 0x5a, len);
        if (round % 5 == 0) {
            p = mremap(p, len, len * 2, MREMAP_MAYMOVE);
            len *= 2;
        }
        if (round % 4 == 0) mprotect(p, 4096, PROT_READ);
        size_t half = len / 8192 * 4096;
        if (round % 3 == 0 && half > 0) madvise(p + half, half, MADV_DONTNEED);
        if (round % 7 == 0) mprotect(p + half, 4096, PROT_NONE);
        munmap(p, len);
        shared[(id * ROUNDS + round) % 65536] = (unsigned char)round;
    }
    for (int i = 0; i < SLOTS; i++) free(slot[i]);
    return NULL;
}

static void run(void) {
    pthread_t t[THREADS];
    for (unsigned long i = 0; i < THREADS; i++) pthread_create(&t[i], NULL, work, (void *)(i + 1));
    for (int i = 0; i < THREADS; i++) pthread_join(t[i], NULL);
}

int main(void) {
    shared = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    run();
    pid_t child = fork();
    if (child == 0) { run(); _exit(0); }
    run();
    waitpid(child, NULL, 0);
    printf("%lu\n", atomic_load(&total));
    return 0;
}

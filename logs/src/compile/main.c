#include <stdio.h>
#include "queue.h"
int main(void) {
    struct queue *q = queue_new();
    long sum = 0; int v;
    for (int i = 0; i < 1000; i++) queue_push(q, i);
    while (queue_pop(q, &v) == 0) sum += v;
    printf("%ld\n", sum);
    return 0;
}

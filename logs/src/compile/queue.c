#include <stdlib.h>
#include "queue.h"
struct node { struct node *next; int value; };
struct queue { struct node *head, **tail; unsigned long length; };
struct queue *queue_new(void) {
    struct queue *q = malloc(sizeof *q);
    if (q) { q->head = NULL; q->tail = &q->head; q->length = 0; }
    return q;
}
int queue_push(struct queue *q, int value) {
    struct node *n = malloc(sizeof *n);
    if (!n) return -1;
    n->next = NULL; n->value = value;
    *q->tail = n; q->tail = &n->next; q->length++;
    return 0;
}
int queue_pop(struct queue *q, int *out) {
    struct node *n = q->head;
    if (!n) return -1;
    *out = n->value; q->head = n->next;
    if (!q->head) q->tail = &q->head;
    q->length--; free(n);
    return 0;
}

struct queue;
struct queue *queue_new(void);
int queue_push(struct queue *q, int value);
int queue_pop(struct queue *q, int *out);

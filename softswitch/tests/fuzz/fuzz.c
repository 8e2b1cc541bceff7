// SPDX-License-Identifier: Apache-2.0
// Feeds mutated frames to one generated program, and changes its tables meanwhile.
//
//     fuzz CORPUS SEED PACKETS
//
// Built together with the runtime and the program, all with sanitizers. Each frame is a heap block of
// exactly its length, so that a byte read too far is found. CORPUS: see corpus.py. When a sanitizer
// ends the process, the frame that it was working on is printed.
#include "ss_table.h"

#include <stdio.h>
#include <stdlib.h>

extern const struct ss_program ss_program;

struct ss_switch *ss_new(uint32_t cpu_port, uint32_t drop_port);
void ss_free(struct ss_switch *sw);
int ss_port_add(struct ss_switch *sw, uint32_t number, const char *ifname, char *error,
                size_t error_len);
uint64_t ss_prepare(struct ss_switch *sw, const struct ss_program *program);
int ss_commit(struct ss_switch *sw, uint64_t generation);
int ss_inject(struct ss_switch *sw, uint32_t port, const uint8_t *frame, uint32_t len);
int ss_insert(struct ss_switch *sw, uint64_t gen, uint32_t table, const struct ss_entry_in *in);
int ss_modify(struct ss_switch *sw, uint64_t gen, uint32_t table, const struct ss_entry_in *in);
int ss_delete(struct ss_switch *sw, uint64_t gen, uint32_t table, const uint64_t *key,
              int32_t priority);
int64_t ss_read_entries(struct ss_switch *sw, uint64_t gen, uint32_t table, uint32_t *cursor,
                        uint32_t max_slots, uint64_t idle_at, uint8_t *out, size_t cap);
int ss_default_set(struct ss_switch *sw, uint64_t gen, uint32_t table, uint32_t action,
                   const uint64_t *data);
int ss_replicas_set(struct ss_switch *sw, uint64_t gen, int clone, uint32_t id,
                    const struct ss_replica *r, uint32_t n, uint32_t truncate);
int64_t ss_read_packet_in(struct ss_switch *sw, uint8_t *out, size_t cap, int64_t timeout_ns);
int64_t ss_read_memory_port(struct ss_switch *sw, uint32_t number, uint8_t *out, size_t cap,
                            int64_t timeout_ns);
int64_t ss_read_log(struct ss_switch *sw, uint8_t *out, size_t cap, int64_t timeout_ns);
int64_t ss_read_digests(struct ss_switch *sw, uint8_t *out, size_t cap, int64_t timeout_ns);
void ss_set_clock(struct ss_switch *sw, uint64_t now_ns);
void __sanitizer_set_death_callback(void (*callback)(void));
size_t __sanitizer_get_current_allocated_bytes(void);

enum { CPU_PORT = 510, PORTS = 5, ROOM = 1 << 17, LONGEST = 65535, GROWTH = 8 << 20 };

struct frame {
    uint32_t len;
    uint8_t *bytes;
};

struct row {
    uint32_t table;
    struct ss_entry_in in;
};

static struct frame *frames, now;
static struct row *rows;
static uint32_t n_frames, n_rows, now_port;
static uint64_t now_number, seed, state;
static uint8_t buffer[ROOM];

static uint64_t next(void) // splitmix64
{
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint32_t below(uint32_t n)
{
    return (uint32_t)(next() % n);
}

static void say_what(void)
{
    fprintf(stderr, "seed %llu, packet %llu, port %u, %u bytes:\n", (unsigned long long)seed,
            (unsigned long long)now_number, now_port, now.len);
    for (uint32_t i = 0; i < now.len && i < 2048; i++)
        fprintf(stderr, "%02x", now.bytes[i]);
    fprintf(stderr, "\n");
}

static void *take(FILE *f, size_t len)
{
    void *p = malloc(len ? len : 1);
    if (!p || fread(p, 1, len, f) != len) {
        fprintf(stderr, "fuzz: the corpus is cut short\n");
        exit(2);
    }
    return p;
}

static uint32_t take_u32(FILE *f)
{
    uint32_t *p = take(f, 4), v = *p;
    free(p);
    return v;
}

static void read_corpus(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        exit(2);
    }
    n_frames = take_u32(f);
    frames = calloc(n_frames, sizeof(*frames));
    for (uint32_t i = 0; i < n_frames; i++) {
        frames[i].len = take_u32(f);
        frames[i].bytes = take(f, frames[i].len);
    }
    n_rows = take_u32(f);
    rows = calloc(n_rows ? n_rows : 1, sizeof(*rows));
    for (uint32_t i = 0; i < n_rows; i++) {
        struct ss_entry_in *in = &rows[i].in;
        rows[i].table = take_u32(f);
        in->action = take_u32(f);
        in->priority = (int32_t)take_u32(f);
        in->rank = (int32_t)take_u32(f);
        in->timeout_ns = take_u32(f);
        uint32_t n_key = take_u32(f), n_data = take_u32(f);
        in->key = take(f, 8 * (size_t)n_key);
        in->data = take(f, 8 * (size_t)n_data);
    }
    fclose(f);
}

static void mutate(uint8_t *p, uint32_t *len)
{
    static const uint16_t special[] = {0,      0xffff, 1,      0x8000, 0x0800, 0x86dd, 0x8100,
                                       0x88a8, 0x4500, 0x4f00, 0x6000, 0x12b5, 0x7fff, 64};
    for (uint32_t n = below(6); n > 0 && *len > 0; n--) {
        uint32_t at = below(2) ? below(*len) : below(*len < 64 ? *len : 64);
        switch (below(7)) {
        case 0:
            p[at] ^= (uint8_t)(1u << below(8));
            break;
        case 1:
            p[at] = (uint8_t)next();
            break;
        case 2: {
            uint16_t v = special[below(sizeof(special) / 2)];
            p[at] = (uint8_t)(v >> 8);
            if (at + 1 < *len)
                p[at + 1] = (uint8_t)v;
            break;
        }
        case 3:
            *len = at;
            break;
        case 4: { // grow
            uint32_t more = below(below(50) ? 64 : 3000);
            for (uint32_t i = 0; i < more; i++)
                p[*len + i] = (uint8_t)next();
            *len += more;
            break;
        }
        case 5: { // a piece of another frame
            const struct frame *other = &frames[below(n_frames)];
            uint32_t piece = below(other->len + 1);
            if (piece > *len - at)
                piece = *len - at;
            memcpy(p + at, other->bytes, piece);
            break;
        }
        default:
            memset(p + at, below(2) ? 0xff : 0, below(*len - at < 20 ? *len - at : 20));
        }
    }
}

static void choose(void)
{
    static uint8_t work[2 * LONGEST];
    const struct frame *from = &frames[below(n_frames)];
    uint32_t len = from->len;
    memcpy(work, from->bytes, len);
    mutate(work, &len);
    if (below(20000) == 0) // the longest there is
        for (; len < LONGEST; len++)
            work[len] = (uint8_t)len;
    now.len = len;
    now.bytes = malloc(len ? len : 1);
    memcpy(now.bytes, work, len);
    now_port = below(8) ? below(PORTS) : CPU_PORT;
}

static void change_tables(struct ss_switch *sw, uint64_t generation)
{
    uint64_t data[128] = {0};
    struct ss_replica replicas[4];
    uint32_t n = below(5);
    if (n_rows) {
        const struct row *row = &rows[below(n_rows)], *other = &rows[below(n_rows)];
        struct ss_entry_in in = row->in;
        if (other->table == row->table) {
            in.action = other->in.action;
            in.data = other->in.data;
        }
        switch (below(4)) {
        case 0:
            ss_delete(sw, generation, row->table, in.key, in.priority);
            break;
        case 1:
            ss_modify(sw, generation, row->table, &in);
            break;
        default:
            ss_insert(sw, generation, row->table, &in);
        }
    }
    for (uint32_t i = 0; i < n && i < 4; i++)
        replicas[i] = (struct ss_replica){below(PORTS + 1), below(3)};
    ss_replicas_set(sw, generation, (int)below(2), below(6), replicas, n < 4 ? n : SS_NONE,
                    below(4) ? 0 : below(200));
    uint32_t table = below(ss_program.n_tables), cursor = 0;
    ss_read_entries(sw, generation, table, &cursor, 64, below(2) ? sw->clock_ns : 0, buffer, ROOM);
    if (below(50) == 0)
        ss_default_set(sw, generation, table, SS_NONE, data);
    ss_set_clock(sw, sw->clock_ns + below(2000000000));
}

static void drain(struct ss_switch *sw)
{
    ss_read_packet_in(sw, buffer, ROOM, 0);
    ss_read_log(sw, buffer, ROOM, 0);
    ss_read_digests(sw, buffer, ROOM, 0);
    for (uint32_t i = 0; i < PORTS; i++)
        for (int k = 0; k < 8; k++)
            ss_read_memory_port(sw, i, buffer, ROOM, 0);
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: fuzz CORPUS SEED PACKETS\n");
        return 2;
    }
    char error[256];
    uint64_t packets = strtoull(argv[3], NULL, 10), sent = 0;
    size_t early = 0;
    seed = state = strtoull(argv[2], NULL, 10);
    read_corpus(argv[1]);
    __sanitizer_set_death_callback(say_what);
    struct ss_switch *sw = ss_new(CPU_PORT, 511);
    for (uint32_t i = 0; i < PORTS; i++)
        ss_port_add(sw, i, NULL, error, sizeof(error));
    ss_set_clock(sw, 1000000000);
    uint64_t generation = ss_prepare(sw, &ss_program);
    ss_commit(sw, generation);
    for (uint32_t i = 0; i < n_rows; i++)
        ss_insert(sw, generation, rows[i].table, &rows[i].in);
    for (now_number = 0; now_number < packets; now_number++) {
        choose();
        ss_inject(sw, now_port, now.bytes, now.len);
        free(now.bytes);
        now.len = 0;
        if (now_number % 16 == 0)
            change_tables(sw, generation);
        if (now_number % 32 == 0)
            drain(sw);
        if (now_number == packets / 10)
            early = __sanitizer_get_current_allocated_bytes();
        if (now_number % 1000000 == 999999) {
            printf("%llu packets\n", (unsigned long long)now_number + 1);
            fflush(stdout);
        }
    }
    for (uint32_t i = 0; i < PORTS; i++)
        sent += sw->ports[i]->stats.tx_packets;
    size_t late = __sanitizer_get_current_allocated_bytes();
    if (late > early + GROWTH) {
        fprintf(stderr, "memory grew from %zu to %zu bytes\n", early, late);
        return 1;
    }
    uint32_t entries = 0;
    uint64_t hits = 0;
    for (uint32_t i = 0; i < ss_program.n_tables; i++)
        entries += sw->state->tables[i].count;
    for (uint32_t i = 0; i < ss_program.n_tables; i++)
        for (uint32_t s = 0; sw->state->tables[i].entries && s < sw->state->tables[i].top; s++)
            hits += ss_entry_at(&sw->state->tables[i], s)->last_hit_ns > 1000000000;
    printf("%llu packets, %llu sent on, %u entries, %llu of them hit\n",
           (unsigned long long)packets, (unsigned long long)sent, entries,
           (unsigned long long)hits);
    ss_free(sw);
    for (uint32_t i = 0; i < n_rows; i++) {
        free((void *)(uintptr_t)rows[i].in.key);
        free((void *)(uintptr_t)rows[i].in.data);
    }
    for (uint32_t i = 0; i < n_frames; i++)
        free(frames[i].bytes);
    free(rows);
    free(frames);
    return 0;
}

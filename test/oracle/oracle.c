/*
 * What does ModSecurity v3 say? Loads SecLang files into libmodsecurity3 and answers requests read
 * from stdin, one JSON line each: the text log lines of the rules that matched, in order, and the
 * intervention with its phase. Used by test/oracle/oracle.ts; no part of the product.
 *
 *   oracle FILE...
 *
 * The input is a sequence of records "KIND LENGTH\n" followed by LENGTH bytes:
 *   c address of the client   m method   u request target   v HTTP version ("1.1")
 *   h header name, then H its value   b body   s response status   r response header name, then R
 *   its value   o response body   e end of the request: it runs now
 * Without "s" the response phases still run, over an empty 200.
 */
#define _POSIX_C_SOURCE 200809L

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <modsecurity/modsecurity.h>
#include <modsecurity/rules_set.h>
#include <modsecurity/transaction.h>

enum { RECORD_BYTES_MAX = 64 * 1024 * 1024, HEADERS_MAX = 2000 };

struct text {
    char *bytes;
    size_t length;
};

struct headers {
    struct text names[HEADERS_MAX];
    struct text values[HEADERS_MAX];
    size_t count;
};

struct request {
    struct text client, method, target, version, body, status, response_body;
    struct headers request, response;
};

static FILE *answers;
static int log_lines;
static struct request the_request;

static void die(const char *why) {
    fprintf(stderr, "oracle: %s\n", why);
    exit(1);
}

/* Latin-1: each byte is one character, so that the line is valid JSON whatever the bytes are. */
static void print_json(const char *bytes) {
    fputc('"', answers);
    for (const unsigned char *at = (const unsigned char *)bytes; *at != 0; at += 1) {
        if (*at == '"' || *at == '\\') fprintf(answers, "\\%c", *at);
        else if (*at < 0x20 || *at > 0x7e) fprintf(answers, "\\u%04x", *at);
        else fputc(*at, answers);
    }
    fputc('"', answers);
}

static void print_log_line(const char *line) {
    if (log_lines > 0) fputc(',', answers);
    log_lines += 1;
    print_json(line);
}

static void on_log(void *unused, const void *line) {
    (void)unused;
    print_log_line((const char *)line);
}

static void release(struct text *text) {
    free(text->bytes);
    text->bytes = NULL;
    text->length = 0;
}

static void release_headers(struct headers *headers) {
    for (size_t at = 0; at < headers->count; at += 1) {
        release(&headers->names[at]);
        release(&headers->values[at]);
    }
    headers->count = 0;
}

static void release_request(struct request *request) {
    struct text *texts[] = {&request->client,  &request->method, &request->target,
                            &request->version, &request->body,   &request->status,
                            &request->response_body};
    for (size_t at = 0; at < sizeof texts / sizeof *texts; at += 1) release(texts[at]);
    release_headers(&request->request);
    release_headers(&request->response);
}

static struct text read_bytes(size_t length) {
    struct text read = {malloc(length + 1), length};
    if (read.bytes == NULL) die("out of memory");
    if (fread(read.bytes, 1, length, stdin) != length) die("the input ends inside a record");
    read.bytes[length] = 0;
    return read;
}

static void add_name(struct headers *headers, struct text name) {
    if (headers->count == HEADERS_MAX) die("too many headers");
    headers->names[headers->count] = name;
    headers->count += 1;
}

static void add_value(struct headers *headers, struct text value) {
    if (headers->count == 0) die("a header value without a name");
    headers->values[headers->count - 1] = value;
}

static void keep(struct request *request, char kind, struct text read) {
    struct text *place = NULL;
    switch (kind) {
        case 'c': place = &request->client; break;
        case 'm': place = &request->method; break;
        case 'u': place = &request->target; break;
        case 'v': place = &request->version; break;
        case 'b': place = &request->body; break;
        case 's': place = &request->status; break;
        case 'o': place = &request->response_body; break;
        case 'h': add_name(&request->request, read); return;
        case 'H': add_value(&request->request, read); return;
        case 'r': add_name(&request->response, read); return;
        case 'R': add_value(&request->response, read); return;
        default: die("an unknown kind of record");
    }
    release(place);
    *place = read;
}

/* True when a request is complete, false at the end of the input. */
static int read_request(struct request *request) {
    char kind = 0;
    unsigned long length = 0;
    while (scanf(" %c %lu", &kind, &length) == 2) {
        if (length > RECORD_BYTES_MAX) die("a record is too long");
        if (getchar() != '\n') die("a record without a line end");
        struct text read = read_bytes(length);
        if (kind == 'e') {
            release(&read);
            return 1;
        }
        keep(request, kind, read);
    }
    return 0;
}

static const char *or_else(const struct text *text, const char *otherwise) {
    return text->bytes == NULL ? otherwise : text->bytes;
}

struct intervention {
    int status;
    int phase;
    char *url;
};

/* True when a rule stopped the exchange in this phase; its log line is only told here. */
static int stopped(Transaction *transaction, int phase, struct intervention *seen) {
    ModSecurityIntervention it = {200, 0, NULL, NULL, 0};
    if (msc_intervention(transaction, &it) == 0) return 0;
    if (it.log != NULL) print_log_line(it.log);
    free(it.log);
    seen->status = it.status;
    seen->phase = phase;
    seen->url = it.url;
    return it.disruptive != 0 || it.status != 200;
}

static void run_phases(Transaction *transaction, struct request *asked, struct intervention *it) {
    msc_process_connection(transaction, or_else(&asked->client, "192.0.2.1"), 40000,
                           "198.51.100.2", 80);
    msc_process_uri(transaction, or_else(&asked->target, "/"), or_else(&asked->method, "GET"),
                    or_else(&asked->version, "1.1"));
    if (stopped(transaction, 0, it)) return;
    for (size_t at = 0; at < asked->request.count; at += 1) {
        const struct text *name = &asked->request.names[at];
        const struct text *value = &asked->request.values[at];
        msc_add_n_request_header(transaction, (const unsigned char *)name->bytes, name->length,
                                 (const unsigned char *)value->bytes, value->length);
    }
    msc_process_request_headers(transaction);
    if (stopped(transaction, 1, it)) return;
    if (asked->body.length > 0) {
        msc_append_request_body(transaction, (const unsigned char *)asked->body.bytes,
                                asked->body.length);
        if (stopped(transaction, 2, it)) return;
    }
    msc_process_request_body(transaction);
    if (stopped(transaction, 2, it)) return;
    for (size_t at = 0; at < asked->response.count; at += 1) {
        const struct text *name = &asked->response.names[at];
        const struct text *value = &asked->response.values[at];
        msc_add_n_response_header(transaction, (const unsigned char *)name->bytes, name->length,
                                  (const unsigned char *)value->bytes, value->length);
    }
    msc_process_response_headers(transaction, atoi(or_else(&asked->status, "200")), "HTTP/1.1");
    if (stopped(transaction, 3, it)) return;
    if (asked->response_body.length > 0) {
        msc_append_response_body(transaction, (const unsigned char *)asked->response_body.bytes,
                                 asked->response_body.length);
        if (stopped(transaction, 4, it)) return;
    }
    msc_process_response_body(transaction);
    (void)stopped(transaction, 4, it);
}

static void answer(ModSecurity *engine, RulesSet *rules, struct request *asked) {
    struct intervention it = {0, 0, NULL};
    Transaction *transaction = msc_new_transaction(engine, rules, NULL);
    if (transaction == NULL) die("no transaction");
    log_lines = 0;
    fprintf(answers, "{\"log\":[");
    run_phases(transaction, asked, &it);
    msc_process_logging(transaction);
    fprintf(answers, "],\"status\":%d,\"phase\":%d,\"url\":", it.status, it.phase);
    print_json(it.url == NULL ? "" : it.url);
    fprintf(answers, "}\n");
    fflush(answers);
    free(it.url);
    msc_transaction_cleanup(transaction);
}

/* The library itself writes to stdout; the answers keep it to themselves. */
static void claim_stdout(void) {
    int own = dup(1);
    if (own < 0 || dup2(2, 1) < 0) die("no output");
    answers = fdopen(own, "w");
    if (answers == NULL) die("no output");
}

int main(int count, char **files) {
    claim_stdout();
    ModSecurity *engine = msc_init();
    RulesSet *rules = msc_create_rules_set();
    msc_set_connector_info(engine, "oracle");
    msc_set_log_cb(engine, on_log);
    for (int at = 1; at < count; at += 1) {
        const char *error = NULL;
        if (msc_rules_add_file(rules, files[at], &error) < 0) {
            fprintf(stderr, "oracle: %s: %s\n", files[at], error == NULL ? "?" : error);
            return 2;
        }
    }
    /* The first answer says that the rules are loaded. */
    fprintf(answers, "{\"ready\":true}\n");
    fflush(answers);
    while (read_request(&the_request)) {
        answer(engine, rules, &the_request);
        release_request(&the_request);
    }
    msc_rules_cleanup(rules);
    msc_cleanup(engine);
    return 0;
}

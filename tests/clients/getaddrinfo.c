/* Resolves NAME COUNT times with the C library's own resolver, one look-up
 * every INTERVAL_MS, and prints what it measured as one JSON object. Compiled
 * against glibc and against musl: the two ask in different ways.
 *
 * With INTERVAL_MS "-" it waits for a line on standard input before each
 * look-up, so that the lab can set the stage for it.
 */
#define _GNU_SOURCE
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	/* No AI_ADDRCONFIG: always ask for A and AAAA. */
	struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	char line[16];
	long count, failed = 0;
	int on_request;

	if (argc != 4) {
		fprintf(stderr, "usage: %s NAME COUNT INTERVAL_MS|-\n", argv[0]);
		return 2;
	}
	count = atol(argv[2]);
	on_request = strcmp(argv[3], "-") == 0;
	printf("{\"seconds\":[");
	for (long i = 0; i < count; i++) {
		struct addrinfo *found = NULL;
		double start;

		if (on_request && !fgets(line, sizeof line, stdin))
			return 1;
		start = now();
		if (getaddrinfo(argv[1], NULL, &hints, &found))
			failed++;
		else
			freeaddrinfo(found);
		printf("%s%.6f", i ? "," : "", now() - start);
		if (!on_request && i + 1 < count)
			usleep((useconds_t)atol(argv[3]) * 1000);
	}
	printf("],\"failed\":%ld}\n", failed);
	return 0;
}

/* Preloaded into a program, ends every large aligned allocation at a page that may not be touched.

   What reads past the end of a buffer, if only by one vector register, is then a segmentation fault at once, and not once
   in many hours, where the next page happens not to be mapped. XLA's buffers on a CPU are such allocations.

       cc -O1 -shared -fPIC -o guard_pages.so guard_pages.c -ldl -lpthread
       LD_PRELOAD=./guard_pages.so python -X faulthandler program.py
*/
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>

#define PAGE 4096UL
#define SLOTS (1u << 18)
#define SMALLEST (16UL << 10)
#define LARGEST (256UL << 20)
#define REMOVED ((void *)1)

/* Guarded blocks by address: open addressing, as free() must not allocate. */
static struct { void *block, *mapping; size_t length, size; } table[SLOTS];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static unsigned long count;

static unsigned slot_of(void *block) { return (unsigned)(((uintptr_t)block >> 6) * 2654435761u) & (SLOTS - 1); }

static void *guarded(size_t alignment, size_t size) {
  size_t body = (size + alignment - 1) / alignment * alignment;
  size_t length = ((body + PAGE - 1) / PAGE + 1) * PAGE;
  char *mapping = mmap(0, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) return 0;
  char *end = mapping + length - PAGE;
  mprotect(end, PAGE, PROT_NONE);
  pthread_mutex_lock(&mutex);
  unsigned i = slot_of(end - body);
  while (table[i].block && table[i].block != REMOVED) i = (i + 1) & (SLOTS - 1);
  table[i].block = end - body, table[i].mapping = mapping, table[i].length = length, table[i].size = size;
  count++;
  pthread_mutex_unlock(&mutex);
  return end - body;
}

/* The block's slot, or -1; the mutex is held. */
static long find(void *block) {
  for (unsigned i = slot_of(block); table[i].block; i = (i + 1) & (SLOTS - 1))
    if (table[i].block == block) return i;
  return -1;
}

static int wanted(size_t alignment, size_t size) {
  return alignment >= 32 && alignment <= PAGE && size >= SMALLEST && size <= LARGEST;
}

int posix_memalign(void **out, size_t alignment, size_t size) {
  static int (*real)(void **, size_t, size_t);
  if (!real) real = dlsym(RTLD_NEXT, "posix_memalign");
  if (!wanted(alignment, size)) return real(out, alignment, size);
  return (*out = guarded(alignment, size)) ? 0 : ENOMEM;
}

void *aligned_alloc(size_t alignment, size_t size) {
  static void *(*real)(size_t, size_t);
  if (!real) real = dlsym(RTLD_NEXT, "aligned_alloc");
  return wanted(alignment, size) ? guarded(alignment, size) : real(alignment, size);
}

void *memalign(size_t alignment, size_t size) {
  static void *(*real)(size_t, size_t);
  if (!real) real = dlsym(RTLD_NEXT, "memalign");
  return wanted(alignment, size) ? guarded(alignment, size) : real(alignment, size);
}

size_t malloc_usable_size(void *block) {
  static size_t (*real)(void *);
  if (!real) real = dlsym(RTLD_NEXT, "malloc_usable_size");
  pthread_mutex_lock(&mutex);
  long i = find(block);
  size_t size = i < 0 ? 0 : table[i].size;
  pthread_mutex_unlock(&mutex);
  return i < 0 ? real(block) : size;
}

void free(void *block) {
  static void (*real)(void *);
  if (!real) real = dlsym(RTLD_NEXT, "free");
  if (block && count) {
    pthread_mutex_lock(&mutex);
    long i = find(block);
    if (i >= 0) {
      void *mapping = table[i].mapping;
      size_t length = table[i].length;
      table[i].block = REMOVED;
      pthread_mutex_unlock(&mutex);
      munmap(mapping, length);
      return;
    }
    pthread_mutex_unlock(&mutex);
  }
  real(block);
}

/* For the program to see that something was guarded. */
unsigned long guarded_allocations(void) { return count; }

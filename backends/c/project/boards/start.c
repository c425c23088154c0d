/* Start-up code of a Cortex-M whose files and output a debugger or qemu serves (semihosting). */
#include <stdint.h>

extern void _start(void);
extern char network_stack_top[];

static void stop(void)
{
    for (;;) {
    }
}

static void reset(void)
{
#if defined(__ARM_FP)  /* main.c uses floating point; the network does not */
    *(volatile uint32_t *)0xE000ED88 |= 0xFu << 20;
#endif
    _start();
    stop();
}

__attribute__((section(".vectors"), used)) static void (*const vectors[16])(void) = {
    (void (*)(void))network_stack_top, reset, stop, stop, stop, stop, stop, 0,
    0, 0, 0, stop, stop, 0, stop, stop,
};

/* A program for a board without files: runs the network on a sample in flash and lights the LED of
 * the class with the largest potential, on ARM's MPS2 boards. For a network of one input and one
 * output; sample.h defines `sample`, the codes of its input, and CLASSES, the size of its output. */
#include <stdio.h>

#include "network.h"
#include "sample.h"

#define LEDS (*(volatile uint32_t *)0x40028000)

int main(void)
{
    static int32_t potentials[CLASSES];
    int best = 0;
    if (network_run(sample, potentials) != 0)
        return 1;
    for (int i = 1; i < CLASSES; ++i)
        if (potentials[i] > potentials[best])
            best = i;
    LEDS = 1u << best;
    printf("class %d\n", best); /* to the debugger, or to qemu */
    return 0;
}

/* Checks of the network engines; returns how many failed. */
#ifndef RUNNER_NEURAL_H
#define RUNNER_NEURAL_H

int run_networks(void);

#endif

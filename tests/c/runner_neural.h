/* Checks of the network engines and of the loops over their weights; each returns how many failed. */
#ifndef RUNNER_NEURAL_H
#define RUNNER_NEURAL_H

int run_networks(void);
int run_weights(void);

#endif

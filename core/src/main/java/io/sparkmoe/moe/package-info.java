/**
 * The mixture of experts: a gate routes every token to its top-K experts, a dispatcher carries it
 * to the ranks that own them and brings the weighted outputs back. Start at {@link
 * io.sparkmoe.moe.MixtureOfExperts}, which puts {@link io.sparkmoe.moe.Gate}, {@link
 * io.sparkmoe.moe.TokenDispatcher} and {@link io.sparkmoe.moe.Experts} together.
 */
package io.sparkmoe.moe;

/**
 * Teachers behind OpenAI-compatible endpoints: pacing, retries, budgets, and what replies say.
 * Start at {@link io.sparkmoe.distill.http.HttpTeacher}.
 */
package io.sparkmoe.distill.http;

/**
 * Networks of the DL4J and Keras worlds as teachers; the only package that knows DL4J. Start at
 * {@link io.sparkmoe.distill.dl4j.Dl4jModel}.
 */
package io.sparkmoe.distill.dl4j;

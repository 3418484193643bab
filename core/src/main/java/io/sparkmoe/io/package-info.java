/**
 * The few operations on a file system that a run needs, so that core knows nothing of Hadoop. Start
 * at {@link io.sparkmoe.io.Store}.
 */
package io.sparkmoe.io;

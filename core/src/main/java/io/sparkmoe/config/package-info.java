/**
 * Where a run's configuration comes from: presets, YAML files, Spark settings and the command line,
 * merged with the origin of every value. Start at {@link io.sparkmoe.config.ConfigResolver}.
 */
package io.sparkmoe.config;

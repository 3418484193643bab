package io.sparkmoe.spark;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.fields;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.dependencies.SlicesRuleDefinition.slices;
import static org.assertj.core.api.Assertions.assertThat;

import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import io.sparkmoe.LocaleRule;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** The arrows on the Spark side: cli over job over cluster and data, and core below all of them. */
class SparkArchitectureTest {

  private static final String ROOT = "io.sparkmoe.spark";

  private static JavaClasses classes;

  @BeforeAll
  static void readClasses() {
    classes =
        new ClassFileImporter()
            .withImportOption(ImportOption.Predefined.DO_NOT_INCLUDE_TESTS)
            .importPackages(ROOT);
  }

  @Test
  void clusterAndDataKnowNeitherJobsNorTheCommandLine() {
    noClasses()
        .that()
        .resideInAnyPackage(ROOT + ".cluster..", ROOT + ".data..")
        .should()
        .dependOnClassesThat()
        .resideInAnyPackage(ROOT + ".job..", ROOT + ".cli..")
        .allowEmptyShould(true)
        .check(classes);
  }

  @Test
  void jobsDoNotKnowTheCommandLine() {
    noClasses()
        .that()
        .resideInAPackage(ROOT + ".job..")
        .should()
        .dependOnClassesThat()
        .resideInAPackage(ROOT + ".cli..")
        .allowEmptyShould(true)
        .check(classes);
  }

  @Test
  void onlyTheCommandLineKnowsPicocli() {
    noClasses()
        .that()
        .resideOutsideOfPackage(ROOT + ".cli..")
        .should()
        .dependOnClassesThat()
        .resideInAPackage("picocli..")
        .allowEmptyShould(true)
        .check(classes);
  }

  @Test
  void packagesAreFreeOfCycles() {
    slices()
        .matching(ROOT + ".(*)..")
        .should()
        .beFreeOfCycles()
        .allowEmptyShould(true)
        .check(classes);
  }

  @Test
  void noArithmeticLivesHere() {
    noClasses()
        .should()
        .dependOnClassesThat()
        .resideInAnyPackage(
            "jdk.incubator.vector..", "org.bytedeco.openblas..", "org.bytedeco.dnnl..")
        .allowEmptyShould(true)
        .check(classes);
  }

  @Test
  void textIsTheSameInEveryLanguageOfTheMachine() {
    LocaleRule.ALWAYS_NAMED.check(classes);
  }

  @Test
  void noStateIsStaticAndMutable() {
    fields().that().areStatic().should().beFinal().allowEmptyShould(true).check(classes);
  }

  @Test
  void everyPackageIntroducesItself() throws IOException {
    try (Stream<Path> files = Files.walk(Path.of("src/main/java"))) {
      List<Path> silent =
          files
              .filter(f -> f.toString().endsWith(".java"))
              .map(Path::getParent)
              .distinct()
              .filter(folder -> !Files.exists(folder.resolve("package-info.java")))
              .toList();
      assertThat(silent).as("packages without package-info.java").isEmpty();
    }
  }
}

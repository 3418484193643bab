package io.sparkmoe;

import static com.tngtech.archunit.base.DescribedPredicate.not;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAPackage;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.fields;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.dependencies.SlicesRuleDefinition.slices;
import static java.util.stream.Collectors.toCollection;
import static org.assertj.core.api.Assertions.assertThat;

import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/** The arrows between core's packages, and the habits that hold in all of them. */
class ArchitectureTest {

  private static final String ROOT = "io.sparkmoe";

  /** Which of our packages a package may import. A new package needs its line here first. */
  private static final Map<String, Set<String>> MAY_IMPORT =
      Map.ofEntries(
          Map.entry("tensor", Set.of()),
          Map.entry("kernel", Set.of("tensor")),
          Map.entry("fp8", Set.of("tensor", "kernel")),
          Map.entry("parallel", Set.of("tensor", "kernel", "fp8")),
          Map.entry("layer", Set.of("tensor", "kernel", "fp8")),
          Map.entry("moe", Set.of("tensor", "kernel", "fp8", "layer", "parallel")),
          Map.entry("model", Set.of("tensor", "kernel", "fp8", "layer", "parallel", "moe")),
          Map.entry("io", Set.of()),
          Map.entry("data", Set.of("io")),
          Map.entry("checkpoint", Set.of("tensor", "kernel", "fp8", "parallel", "model", "io")),
          Map.entry(
              "infer",
              Set.of("tensor", "kernel", "fp8", "moe", "model", "io", "data", "checkpoint")),
          Map.entry("train", below("train")),
          Map.entry("distill", distill()),
          Map.entry("config", below("config")),
          Map.entry("report", below("report")));

  private static JavaClasses classes;

  private static Set<String> distill() {
    Set<String> all = new TreeSet<>(below("config"));
    all.add("infer");
    return all;
  }

  /** Packages that stand under one of the top three, which may import all that is below them. */
  private static Set<String> below(String top) {
    Set<String> engine =
        Set.of(
            "tensor",
            "kernel",
            "fp8",
            "layer",
            "parallel",
            "moe",
            "model",
            "io",
            "data",
            "checkpoint");
    List<String> tops = List.of("train", "config", "report");
    Set<String> all = new TreeSet<>(engine);
    all.addAll(tops.subList(0, tops.indexOf(top)));
    return all;
  }

  @BeforeAll
  static void readClasses() {
    classes =
        new ClassFileImporter()
            .withImportOption(ImportOption.Predefined.DO_NOT_INCLUDE_TESTS)
            .importPackages(ROOT);
  }

  @TestFactory
  Stream<DynamicTest> everyPackageImportsOnlyWhatIsBelowIt() {
    return MAY_IMPORT.keySet().stream()
        .sorted()
        .map(
            name ->
                DynamicTest.dynamicTest(
                    name,
                    () -> {
                      String[] allowed =
                          Stream.concat(Stream.of(name), MAY_IMPORT.get(name).stream())
                              .map(p -> ROOT + "." + p + "..")
                              .toArray(String[]::new);
                      noClasses()
                          .that()
                          .resideInAPackage(ROOT + "." + name + "..")
                          .should()
                          .dependOnClassesThat(
                              resideInAPackage(ROOT + "..")
                                  .and(not(JavaClass.Predicates.resideInAnyPackage(allowed))))
                          .allowEmptyShould(true)
                          .check(classes);
                    }));
  }

  @Test
  void everyPackageHasItsLineAbove() {
    Set<String> found =
        classes.stream()
            .map(c -> c.getPackageName().substring(ROOT.length()).replaceFirst("^\\.", ""))
            .map(p -> p.replaceFirst("\\..*", ""))
            .collect(toCollection(TreeSet::new));
    assertThat(MAY_IMPORT.keySet()).containsAll(found);
  }

  @Test
  void packagesAreFreeOfCycles() {
    slices().matching(ROOT + ".(*)..").should().beFreeOfCycles().check(classes);
  }

  @Test
  void coreKnowsNeitherSparkNorHadoop() {
    noClasses()
        .should()
        .dependOnClassesThat()
        .resideInAnyPackage("org.apache.spark..", "org.apache.hadoop..", "scala..")
        .check(classes);
  }

  @Test
  void onlyKernelsTouchTheVectorApiAndMatrixLibraries() {
    noClasses()
        .that()
        .resideOutsideOfPackage(ROOT + ".kernel..")
        .should()
        .dependOnClassesThat()
        .resideInAnyPackage(
            "jdk.incubator.vector..", "org.bytedeco.openblas..", "org.bytedeco.dnnl..")
        .check(classes);
  }

  @Test
  void onlyTensorsAndKernelsTouchNd4j() {
    noClasses()
        .that()
        .resideOutsideOfPackages(ROOT + ".tensor..", ROOT + ".kernel..", ROOT + ".distill.dl4j..")
        .should()
        .dependOnClassesThat()
        .resideInAPackage("org.nd4j..")
        .check(classes);
  }

  @Test
  void onlyItsTeachersKnowDl4j() {
    noClasses()
        .that()
        .resideOutsideOfPackage(ROOT + ".distill.dl4j..")
        .should()
        .dependOnClassesThat()
        .resideInAPackage("org.deeplearning4j..")
        .check(classes);
  }

  @Test
  void textIsTheSameInEveryLanguageOfTheMachine() {
    LocaleRule.ALWAYS_NAMED.check(classes);
  }

  @Test
  void noStateIsStaticAndMutable() {
    fields().that().areStatic().should().beFinal().check(classes);
  }

  @Test
  void namesSayWhatAThingIs() {
    classes()
        .should()
        .haveSimpleNameNotEndingWith("Util")
        .andShould()
        .haveSimpleNameNotEndingWith("Utils")
        .andShould()
        .haveSimpleNameNotEndingWith("Helper")
        .andShould()
        .haveSimpleNameNotEndingWith("Manager")
        .andShould()
        .haveSimpleNameNotEndingWith("Impl")
        .andShould()
        .resideOutsideOfPackages("..util..", "..utils..", "..common..", "..misc..", "..helper..")
        .check(classes);
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

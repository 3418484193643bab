package io.sparkmoe;

import static com.tngtech.archunit.core.domain.JavaAccess.Predicates.target;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;

import com.tngtech.archunit.base.DescribedPredicate;
import com.tngtech.archunit.core.domain.AccessTarget;
import com.tngtech.archunit.core.domain.AccessTarget.CodeUnitAccessTarget;
import com.tngtech.archunit.lang.ArchRule;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.util.Locale;
import java.util.Set;

/**
 * What is written, stored or compared is the same whatever the machine's language: numbers have
 * other digits in some (fa_IR, ar_EG, mr_IN), and the letter i another capital (tr_TR).
 */
public final class LocaleRule {

  private static final Set<String> CLASSES =
      Set.of(String.class.getName(), PrintStream.class.getName(), PrintWriter.class.getName());

  private static final Set<String> METHODS =
      Set.of("format", "formatted", "printf", "toLowerCase", "toUpperCase");

  /** Nobody formats or changes case without naming a locale. */
  public static final ArchRule ALWAYS_NAMED =
      noClasses()
          .should()
          .accessTargetWhere(
              target(
                  DescribedPredicate.<AccessTarget>describe(
                      "formats in the machine's language", LocaleRule::leavesLocaleOut)))
          .because("Locale.ROOT gives the same text on every machine");

  private LocaleRule() {}

  private static boolean leavesLocaleOut(AccessTarget target) {
    return target instanceof CodeUnitAccessTarget method
        && CLASSES.contains(method.getOwner().getName())
        && METHODS.contains(method.getName())
        && method.getRawParameterTypes().stream()
            .noneMatch(type -> type.isEquivalentTo(Locale.class));
  }
}
